"""Money through the gateway, as a web shop moves it: JSON over HTTP."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from tests.kit.auditor import audit
from tests.kit.stack import Answer, Stack


def usd(minor_units: int) -> dict[str, object]:
    """JSON of protobuf writes 64 bits as text."""
    return {"currencyCode": "USD", "minorUnits": str(minor_units)}


def posting(account: str, minor_units: int) -> dict[str, object]:
    return {"account": account, "amount": usd(minor_units)}


def error_info(answer: Answer) -> dict[str, Any]:
    """The google.rpc.ErrorInfo of an error; of others there is none."""
    details: list[dict[str, Any]] = answer.body.get("details", [])
    return next((detail for detail in details if detail["@type"].endswith("ErrorInfo")), {})


def reason(answer: Answer) -> str:
    """Of an error."""
    return str(error_info(answer)["reason"])


class Till:
    """Wallets and keys of its own, and what it was told."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._suffix = uuid4().hex[:12]
        self._wallets: list[str] = []
        self._told: dict[str, str] = {}

    def wallet(self, name: str, balance: int = 0) -> str:
        """The name that nobody else uses."""
        id_ = self.own(name)
        created = self._stack.call("POST", f"/v1/wallets?walletId={id_}", {"currencyCode": "USD", "displayName": name})
        assert created.status == 200, created
        wallet: str = created.body["wallet"]["name"]
        self._wallets.append(wallet)
        if balance:
            assert self.post(f"/v1/{wallet}:deposit", {"amount": usd(balance)}, f"deposit {name}").status == 200
        return wallet

    def own(self, name: str) -> str:
        """Made so that nobody else uses it."""
        return f"{name}-{self._suffix}"

    def post(self, path: str, body: Mapping[str, object], request_id: str = "") -> Answer:
        """`request_id` goes into the header; empty: the body's items have their own."""
        headers = {"idempotency-key": self.own(request_id)} if request_id else {}
        answer = self._stack.call("POST", path, body, headers=headers)
        self._told.update(_said(answer))
        return answer

    def change(self, wallet: str, how: str) -> None:
        """`freeze`, `unfreeze` or `close`."""
        answer = self._stack.call("POST", f"/v1/{wallet}:{how}", {})
        assert answer.status == 200, answer

    def balances(self, *wallets: str) -> list[int]:
        """What is posted."""
        found = [self._stack.call("GET", f"/v1/{wallet}/balance") for wallet in wallets]
        return [int(answer.body["balance"]["posted"]["minorUnits"]) for answer in found]

    def transactions(self, filters: str) -> list[dict[str, Any]]:
        """`filters`: the query of GET /v1/transactions; one page."""
        listed: list[dict[str, Any]] = self._stack.call("GET", f"/v1/transactions?{filters}").body["transactions"]
        return listed

    def closes_with(self, minor_units: int) -> None:
        """Money is conserved: its wallets have together what came in and has not left; the auditor finds sound books,
        and everything in them that this till was told."""
        assert sum(self.balances(*self._wallets)) == minor_units
        audit(self._stack.owner_dsn, self._told)


def _said(answer: Answer) -> Iterator[tuple[str, str]]:
    """Transactions that are stored, and what became of them."""
    for told in (answer.body, *answer.body.get("results", [])):
        if "transaction" in told:
            yield told["transaction"]["name"], "POSTED"
    info = error_info(answer)
    if "replayed" in info.get("metadata", {}):
        yield info["metadata"]["transaction"], info["reason"]
