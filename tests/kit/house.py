"""A corner of a shared stack for calls that are made up: names, money and keys that no other test has."""

import re
from collections.abc import MutableMapping
from itertools import count, cycle
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import GenerationMode

from specie_cli.stack.local import SIMULATED_PROVIDER
from tests.kit.service import wait_until
from tests.kit.stack import Stack

Json = dict[str, Any]

CURRENCY = "SHP"
"""Of Saint Helena: the sums that are made up here meet no other test's, on the system's accounts neither."""
WALLETS = 6
"""So many are named; the first half are there from the beginning."""
BALANCE = 1_000_000
BOUND = "wallets.read wallets.write transfers.write deposits.write"

WALLET_NAME = re.compile(r"wallets/[a-z0-9-]{1,63}")
WALLET_ID = re.compile(r"[a-z0-9-]{1,63}")
CODE = re.compile(r"[A-Z]{3}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class House:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._prefix = f"house-{uuid4().hex[:8]}"
        self._keys = count()
        self.callers = cycle((stack.token, stack.mint(scope=BOUND)))
        """Tokens, in turn: of a trusted caller, and of one who is bound to his own wallets, which these are."""
        for number in range(WALLETS // 2):
            self.post(f"/v1/wallets?walletId={self.wallet_id(number)}", {"currencyCode": CURRENCY})
            self.post(f"/v1/{self.wallet(number)}:deposit", {"amount": self.money(BALANCE)})
        pending = {"mode": "TRANSFER_MODE_ASYNC", "executeTime": "2999-01-01T00:00:00Z"}
        self._ids = {
            "transaction": [self.transfer(), self.transfer(**pending)],
            "hold": [self.hold(), self.hold()],
            "payout": [self.payout()],
            "webhookEndpoint": [self.endpoint()],
        }

    def wallet_id(self, number: int) -> str:
        return f"{self._prefix}-{number % WALLETS}"

    def wallet(self, number: int) -> str:
        return f"wallets/{self.wallet_id(number)}"

    def money(self, minor_units: int) -> Json:
        return {"currencyCode": CURRENCY, "minorUnits": str(minor_units)}

    def movement(self, **more: object) -> Json:
        """A body of Transfer or PlaceHold that succeeds."""
        return {"source": self.wallet(0), "destination": self.wallet(1), "amount": self.money(5), **more}

    def transfer(self, **more: object) -> str:
        """The id of a new transaction."""
        return _id(self.post("/v1/transfers", self.movement(**more))["transaction"])

    def hold(self) -> str:
        return _id(self.post("/v1/holds", self.movement())["hold"])

    def payout(self) -> str:
        """The id of a new one."""
        payout = {"provider": SIMULATED_PROVIDER, "account": "DE02120300000000202051"}
        body = {"amount": self.money(5), "payout": payout}
        made: str = self.post(f"/v1/{self.wallet(0)}:withdraw", body)["transaction"]["payout"]
        return made.rpartition("/")[2]

    def endpoint(self) -> str:
        """The id of a new one, where nobody listens."""
        endpoint = {"url": "http://127.0.0.1:9/", "wallet": self.wallet(0)}
        return _id(self.post("/v1/webhookEndpoints", endpoint)["endpoint"])

    def delivery(self, endpoint: str) -> str:
        """The id of an event on its way there."""
        self.transfer()

        def listed() -> list[Json]:
            path = f"/v1/webhookDeliveries?endpoint=webhookEndpoints/{endpoint}"
            deliveries: list[Json] = self._stack.call("GET", path).body["deliveries"]
            return deliveries

        wait_until(listed, "an event is on its way")
        return _id(listed()[0])

    def seal(self, transaction: str) -> None:
        """Waits until it stands in the audit chain."""
        path = f"/v1/transactions/{transaction}:proof"
        wait_until(lambda: self._stack.call("GET", path).status == 200, "it is sealed")

    def post(self, path: str, body: Json) -> Json:
        """A call that must succeed."""
        answer = self._stack.call("POST", path, body, headers={"idempotency-key": self.key()})
        assert answer.status == 200, answer.body
        told: Json = answer.body
        return told

    def key(self) -> str:
        """A new request id."""
        return f"{self._prefix}-{next(self._keys)}"

    def tame(self, case: schemathesis.Case[Any]) -> None:
        """Makes what is well-formed in a made-up call a name or money of this house; what is not stays as it is."""
        path = {key: self._own_id(key, value) for key, value in (case.path_parameters or {}).items()}
        if path:
            case.path_parameters = path
        if case.query:
            query = self._own(dict(case.query))
            if _fits(WALLET_ID, query.get("walletId")):
                query["walletId"] = self.wallet_id(_number(query["walletId"]))
            case.query = query
        if isinstance(case.body, dict):
            body: Json = self._own(case.body)
            if case.path == "/v1/holds:release":
                body["source"] = self.wallet(0)  # else it would be about everybody's
            if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
                self._give_key(body, case.headers)
            case.body = body

    def _give_key(self, body: Json, headers: MutableMapping[str, str]) -> None:
        """One request id, and a new one: in the body if there was one, else as the header."""
        headers.pop("idempotency-key", None)
        told, name = (body, "requestId") if "requestId" in body else (headers, "idempotency-key")
        told[name] = self.key()

    def _own_id(self, key: str, value: object) -> object:
        if key == "wallet" and _fits(WALLET_ID, value):
            return self.wallet_id(_number(str(value)))
        if key in self._ids and _fits(UUID, value):
            there = [*self._ids[key], value]
            return there[_number(str(value)) % len(there)]
        return value

    def _own(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return {key: self._own(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._own(inner) for inner in value]
        if _fits(WALLET_NAME, value):
            return self.wallet(_number(value))
        return CURRENCY if _fits(CODE, value) else value


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _number(made_up: str) -> int:
    """The same for the same text."""
    return sum(made_up.encode())


def _id(named: Json) -> str:
    return str(named["name"]).rpartition("/")[2]
