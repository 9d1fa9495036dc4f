"""Who may make which call: every call of the contract, every way in, with every token that must not do."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import psycopg2
import pytest
from psycopg2 import sql
from specie.type.v1 import Scope

from service_kit.caller import ADMIN, SERVICE, scope_name
from specie_cli.stack.issuer import Issuer
from tests.kit.access import ROWS, Estate, House, Nothing
from tests.kit.doors import Door, Grpc, Headers, all_doors
from tests.kit.forgery import FORGED, Forge
from tests.kit.rpcs import all_rpcs
from tests.kit.stack import Stack

RPCS = all_rpcs()
SCOPES = frozenset(scope_name(number) for number in Scope.values() if number)
THREADS = 8
OF_THE_BACK_OFFICE = ("block", "event", "integrity", "seal_key", "webhook_delivery")
"""The tables in which it goes on working, whoever calls."""
UNAUTHENTICATED, PERMISSION_DENIED = "UNAUTHENTICATED", "PERMISSION_DENIED"


@dataclass(frozen=True)
class Edge:
    """Everything that a test of the edge needs."""

    doors: Sequence[Door]
    forge: Forge
    house: House
    victim: Estate
    """Whom somebody else calls about."""
    owner_dsn: str

    def answers(self, ask: Callable[[Door], str], among: Callable[[Door], bool]) -> dict[str, str]:
        """What each of these doors answered, by its name."""
        asked = [door for door in self.doors if among(door)]
        with ThreadPoolExecutor(THREADS) as pool:
            return dict(zip(map(repr, asked), pool.map(ask, asked), strict=True))

    def query(self, text: Any, *values: object) -> list[tuple[Any, ...]]:  # noqa: ANN401 - text, or composed
        connection = psycopg2.connect(self.owner_dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, values)
                found: list[tuple[Any, ...]] = cursor.fetchall()
        finally:
            connection.close()
        return found

    def tables(self) -> dict[str, int]:
        """How many rows every table of both services has."""
        names = self.query(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN ('wallets', 'transactions') AND table_type = 'BASE TABLE'"
            " AND NOT table_name = ANY(%s)",
            list(OF_THE_BACK_OFFICE),
        )
        count = sql.SQL("SELECT {}, count(*) FROM {}")
        counts = [count.format(sql.Literal(".".join(name)), sql.Identifier(*name)) for name in names]
        return dict(self.query(sql.SQL(" UNION ALL ").join(counts)))

    def contents(self) -> list[tuple[Any, ...]]:
        """What the tables say that a call may change in place."""
        return self.query(
            "SELECT a::text FROM transactions.account a UNION ALL SELECT h::text FROM transactions.hold h"
            " UNION ALL SELECT t::text FROM transactions.transaction t WHERE state <> 2"
            " UNION ALL SELECT w::text FROM wallets.wallet w ORDER BY 1"
        )


@pytest.fixture(scope="module")
def edge(stack: Stack) -> Iterator[Edge]:
    with (
        grpc.insecure_channel(stack.wallet[0]) as wallets,
        grpc.insecure_channel(stack.transaction[0]) as transactions,
        all_doors(RPCS, stack) as doors,
    ):
        house = House(stack, wallets, transactions)
        victim = Estate(house, "victim").complete()
        yield Edge(doors, Forge(Issuer(stack.data_dir)), house, victim, stack.owner_dsn)


def bearer(token: str) -> Headers:
    return [("authorization", f"Bearer {token}")]


def needs_a_token(door: Door) -> bool:
    return not door.rpc.access.anybody


def test_every_call_has_a_row_and_says_who_may_make_it() -> None:
    """A new call without them fails here, and is refused to everybody until it has them."""
    assert {rpc.name for rpc in RPCS} == set(ROWS)
    for rpc in RPCS:
        assert bool(rpc.access.scope) != rpc.access.anybody, rpc.path
    assert [rpc.name for rpc in RPCS if rpc.access.anybody] == ["HealthService.GetHealth"]
    assert {rpc.descriptor.containing_service.name for rpc in RPCS if not rpc.bindings} == {"AccountService"}
    assert all(rpc.access.scope == Scope.SCOPE_SERVICE for rpc in RPCS if not rpc.bindings)


NO_TOKEN: Mapping[str, Callable[[str], Headers]] = {
    "none": lambda _: [],
    "empty": lambda _: [("authorization", "")],
    "scheme alone": lambda _: [("authorization", "Bearer")],
    "without the scheme": lambda good: [("authorization", good)],
    "basic": lambda good: [("authorization", f"Basic {base64.b64encode(f'a:{good}'.encode()).decode()}")],
    "another scheme": lambda good: [("authorization", f"DPoP {good}")],
    "twice": lambda good: [*bearer(good), *bearer(good)],
    "twice, another before": lambda good: [("authorization", "Basic YTpi"), *bearer(good)],
    "twice, another behind": lambda good: [*bearer(good), ("authorization", "Basic YTpi")],
    "two in one header": lambda good: bearer(f"{good}, Bearer {good}"),
    "junk behind a comma": lambda good: bearer(f"{good},!!!"),
    "in other headers": lambda good: [("x-access-token", good), ("cookie", f"access_token={good}"), ("x-jwt", good)],
    "as a proxy's": lambda good: [("proxy-authorization", f"Bearer {good}"), ("x-authorization", f"Bearer {good}")],
}


def refused(edge: Edge, headers: Headers, expected: str = UNAUTHENTICATED, **how: Any) -> None:  # noqa: ANN401
    """Every call, every way in, and nothing has changed afterwards."""
    among, query = how.get("among", needs_a_token), how.get("query", "")
    before = edge.tables(), edge.contents()
    answers = edge.answers(lambda door: door.call(ROWS[door.rpc.name].request(edge.victim), headers, query), among)
    assert {name: reason for name, reason in answers.items() if reason != expected} == {}
    assert (edge.tables(), edge.contents()) == before


@pytest.mark.parametrize("headers", NO_TOKEN.values(), ids=NO_TOKEN)
def test_without_a_token_in_its_place_no_call_is_made(edge: Edge, headers: Callable[[str], Headers]) -> None:
    refused(edge, headers(edge.forge.good("victim")))


@pytest.mark.parametrize("parameter", ["access_token", "token", "authorization"])
def test_a_token_in_the_query_is_none(edge: Edge, parameter: str) -> None:
    query = f"{parameter}={edge.forge.good('victim')}"
    refused(edge, [], query=query, among=lambda door: needs_a_token(door) and not repr(door).startswith("inner"))


@pytest.mark.parametrize("forged", [make for make, _ in FORGED.values()], ids=FORGED)
def test_a_bad_token_makes_no_call(edge: Edge, forged: Callable[[Forge], str]) -> None:
    refused(edge, bearer(forged(edge.forge)))


def test_who_lacks_the_scope_makes_no_call(edge: Edge) -> None:
    """Even of wallets of his own, and with all scopes but this one. `service` opens nothing but what services do."""

    def others(door: Door) -> str:
        scopes = SCOPES - {scope_name(door.rpc.access.scope), SERVICE}
        return " ".join(scopes if door.rpc.access.scope == Scope.SCOPE_SERVICE else scopes - {ADMIN})

    scopes: Mapping[str, Callable[[Door], str]] = {
        "all but this": others,
        "none": lambda _: "",
        "in other letters": lambda door: f"{scope_name(door.rpc.access.scope).upper()} ADMIN Service",
        "parted otherwise": lambda door: f"{scope_name(door.rpc.access.scope)},admin\u00a0admin",
        "service": lambda door: "" if door.rpc.access.scope == Scope.SCOPE_SERVICE else SERVICE,
    }
    before = edge.tables(), edge.contents()
    for number, (name, scope) in enumerate(scopes.items()):

        def ask(door: Door, number: int = number, scope: Callable[[Door], str] = scope) -> str:
            # A subject of its own for each, or the gateway's limit of one subject would be met.
            token = edge.forge.good(f"{door}/{number}", scope(door))
            return door.call(ROWS[door.rpc.name].request(edge.victim), bearer(token))

        answers = edge.answers(ask, needs_a_token)
        assert {door: reason for door, reason in answers.items() if reason != PERMISSION_DENIED} == {}, name
    assert (edge.tables(), edge.contents()) == before


def test_somebody_elses_wallet_does_not_exist(edge: Edge) -> None:
    """Whatever scopes he has, of those that people have. What the ledger decided is stored as FAILED, and nothing else
    has changed."""
    scope = " ".join(SCOPES - {ADMIN, SERVICE})
    before, contents = edge.tables(), edge.contents()
    known = edge.query("SELECT id FROM transactions.transaction")

    def ask(door: Door) -> str:
        token = edge.forge.good(f"stranger to {door}", scope)
        return door.call(ROWS[door.rpc.name].request(edge.victim), bearer(token))

    answers = edge.answers(ask, lambda _: True)
    expected = {repr(door): ROWS[door.rpc.name].not_yours for door in edge.doors}
    assert {door: reason for door, reason in answers.items() if reason != expected[door]} == {}
    assert edge.contents() == contents
    after = edge.tables()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"transactions.transaction", "transactions.listing"}
    stored = edge.query(
        "SELECT state, failure_reason, principal FROM transactions.transaction WHERE NOT id = ANY(%s::uuid[])",
        [row_id for (row_id,) in known],
    )
    assert {(state, reason) for state, reason, _ in stored} == {(2, "SOURCE_NOT_FOUND"), (2, "DESTINATION_NOT_FOUND")}
    assert all(principal.startswith("stranger to ") for _, _, principal in stored)


def test_somebody_elses_is_answered_as_what_never_was(edge: Edge) -> None:
    """To the letter, but for the names that were asked for: nobody learns of a wallet, a transaction or a hold by the
    form of a refusal."""
    scope = " ".join(SCOPES - {ADMIN, SERVICE})
    for door in edge.doors:
        if isinstance(door, Grpc) and ROWS[door.rpc.name].not_yours.endswith("_NOT_FOUND"):
            headers = bearer(edge.forge.good(f"curious about {door}", scope))
            told = []
            for estate in (edge.victim, Nothing(edge.house, "nobody")):
                failed = door.failure(ROWS[door.rpc.name].request(estate), headers)
                assert failed is not None
                whole = f"{failed.code} {failed.reason} {failed.message} {failed.metadata}"
                told.append(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "...", whole))
            assert told[0] == told[1], door


SPOOFED = [
    *((name, "root") for name in ("x-specie-principal", "x-user-id", "x-principal", "x-subject", "x-specie-scope")),
    ("x-jwt-payload", base64.b64encode(b'{"sub":"root","scope":"admin"}').decode()),
    ("x-forwarded-client-cert", 'By=spiffe://specie;Subject="CN=root"'),
    ("x-forwarded-user", "root"),
    ("x-envoy-internal", "true"),
    ("x-forwarded-for", "127.0.0.1"),
]
"""By which others would be told who calls."""


def test_who_may_makes_the_call_as_himself_whatever_his_headers_say(edge: Edge) -> None:
    """With the one scope that the contract names, and about wallets of his own."""

    def ask(door: Door) -> str:
        access, owner = door.rpc.access, f"owner by {door}"
        scope = f"{scope_name(access.scope)} {SERVICE * access.trusted_only}" if access.scope else ""
        request = ROWS[door.rpc.name].request(Estate(edge.house, owner))
        return door.call(request, [*bearer(edge.forge.good(owner, scope)), *SPOOFED])

    answers = edge.answers(ask, lambda _: True)
    assert {door: reason for door, reason in answers.items() if reason} == {}
    made = {"Transfer", "BatchTransfer", "Deposit", "Withdraw", "PostTransaction", "ReverseTransaction", "CreateWallet"}
    made |= {"PlaceHold", "CaptureHold", "ReleaseHold"}
    stored = edge.query("SELECT principal FROM transactions.transaction UNION SELECT principal FROM wallets.wallet")
    principals = {principal for (principal,) in stored}
    assert principals >= {f"owner by {door}" for door in edge.doors if door.rpc.descriptor.name in made}
    assert "root" not in principals


def test_health_is_told_to_anybody(edge: Edge) -> None:
    for headers in ([], bearer(edge.forge.good(exp=1))):
        answers = edge.answers(
            lambda door, headers=headers: door.call(ROWS[door.rpc.name].request(edge.victim), headers),  # type: ignore[misc]
            lambda door: not needs_a_token(door),
        )
        assert set(answers.values()) == {""}


def test_internal_services_are_not_there_for_anybody_outside(edge: Edge, stack: Stack) -> None:
    with grpc.insecure_channel(stack.grpc) as gateway:
        for rpc in RPCS:
            if not rpc.bindings:
                outside = Grpc(rpc, gateway, "gateway")
                request = ROWS[rpc.name].request(edge.victim)
                assert outside.call(request, bearer(stack.token)) == "UNIMPLEMENTED"
