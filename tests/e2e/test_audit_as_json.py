"""The audit record as JSON through the gateway: attempts, acts on wallets, and who sees them."""

from urllib.parse import urlencode
from uuid import uuid4

from tests.kit.stack import Stack
from tests.kit.till import reason, usd


def test_attempts_and_acts_are_on_record(stack: Stack) -> None:
    wallet, request_id = f"audited-{uuid4().hex[:12]}", uuid4().hex
    name = f"wallets/{wallet}"
    assert stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "USD"}).status == 200
    paid = stack.call("POST", f"/v1/{name}:deposit", {"amount": usd(7), "requestId": request_id})
    assert paid.status == 200
    assert stack.call("POST", f"/v1/{name}:freeze", {}).status == 200

    [record] = stack.call("GET", f"/v1/auditRecords?{urlencode({'wallet': name})}").body["records"]
    assert record["transaction"] == paid.body["transaction"]
    [own] = [change for change in record["changes"] if change["account"] == name]
    assert own == {"account": name, "sequence": "1", "before": usd(0), "after": usd(7)}
    principal = record["transaction"]["principal"]
    by_id = urlencode({"principal": principal, "transactionRequestId": request_id})
    assert stack.call("GET", f"/v1/auditRecords?{by_id}").body["records"] == [record]
    assert stack.call("GET", f"/v1/auditRecords?{by_id}&state=TRANSACTION_STATE_FAILED").body["records"] == []
    alone = stack.call("GET", f"/v1/auditRecords?transactionRequestId={request_id}")
    assert (alone.status, reason(alone)) == (400, "INVALID_FIELD")

    acts = stack.call("GET", f"/v1/walletActs?{urlencode({'wallet': name})}").body["acts"]
    assert [(act["number"], act["act"], act["after"]["state"]) for act in acts] == [
        ("4", "FREEZE", "FROZEN"),
        ("3", "FREEZE", "FREEZING"),
        ("2", "CREATE", "ACTIVE"),
        ("1", "CREATE", "CREATING"),
    ]
    assert {act["principal"] for act in acts} == {principal}
    assert all(act["traceId"] for act in acts)
    page = stack.call("GET", f"/v1/walletActs?{urlencode({'wallet': name, 'act': 'CREATE', 'pageSize': 1})}").body
    assert (page["acts"], bool(page["nextPageToken"])) == ([acts[2]], True)


def test_only_who_audits_sees_them(stack: Stack) -> None:
    for path in ("/v1/auditRecords", "/v1/acts", "/v1/walletActs"):
        seen = stack.call("GET", path, token=stack.mint("eve", "audit.read"))
        assert seen.status == 200, seen.body
        refused = stack.call("GET", path, token=stack.mint("ann", "wallets.read transfers.write"))
        assert (refused.status, reason(refused)) == (403, "PERMISSION_DENIED")
