"""Reading by time and by label, as JSON through the gateway."""

from urllib.parse import urlencode
from uuid import uuid4

from tests.kit.stack import Stack
from tests.kit.till import reason, usd


def test_reading_by_time_and_by_label(stack: Stack) -> None:
    wallet, order = f"reader-{uuid4().hex[:12]}", uuid4().hex
    assert stack.call("POST", f"/v1/wallets?walletId={wallet}", {"currencyCode": "USD"}).status == 200
    made = []
    for amount in (1, 2, 4):
        body = {"amount": usd(amount), "requestId": uuid4().hex, "labels": {"order": order}}
        answer = stack.call("POST", f"/v1/wallets/{wallet}:deposit", body)
        assert answer.status == 200
        made.append(answer.body["transaction"])
    times = [transaction["postTime"] for transaction in made]

    at = stack.call("GET", f"/v1/wallets/{wallet}/balance?{urlencode({'readTime': times[1]})}").body["balance"]
    assert (at["posted"], at["version"]) == ({"currencyCode": "USD", "minorUnits": "3"}, "2")
    assert not {"held", "available"} & set(at)
    future = stack.call("GET", f"/v1/wallets/{wallet}/balance?readTime=2999-01-01T00:00:00Z")
    assert (future.status, reason(future)) == (400, "INVALID_FIELD")

    between = urlencode({"startTime": times[1], "endTime": times[2]})
    entries = stack.call("GET", f"/v1/wallets/{wallet}/entries?{between}").body["entries"]
    assert [entry["sequence"] for entry in entries] == ["2"]

    listed = stack.call("GET", f"/v1/transactions?{urlencode({'label': f'order={order}'})}").body
    assert [t["name"] for t in listed["transactions"]] == [t["name"] for t in reversed(made)]
    in_range = stack.call("GET", f"/v1/transactions?wallet=wallets/{wallet}&{between}").body["transactions"]
    assert in_range == [made[1]]
