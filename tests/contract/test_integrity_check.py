"""The check that always runs: each kind of damage is found and named, in what is new by the next look and in what is
old by the next lap, and none where there is none."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.kit.builders import capture, code, expiry, placing, release, transfer
from tests.kit.checked import Books, books
from tests.kit.damage import ALICE, BOB, DAMAGE, NOT_AS_ASKED
from tests.kit.everything import VALUES, post_something_of_everything
from tests.kit.ledgers import Ledger, postgres_ledger, session
from tests.kit.postgres import Database, Server
from tests.kit.tampering import unguarded
from transaction_service.adapters import integrity_check, integrity_statements
from transaction_service.domain.account import cash
from transaction_service.integrity.findings import FINDINGS_MAX, Finding


@pytest.fixture(scope="module")
def posted(postgres_server: Server) -> Iterator[str]:
    """The name of a database with a small ledger in which there is something of everything."""
    with postgres_server.fresh_database() as database:
        post_something_of_everything(database)
        yield database.owner_dsn.rpartition("/")[2]


@pytest.fixture
def copied(postgres_server: Server, posted: str) -> Iterator[Database]:
    """Of that one, for one test; nobody has ever checked it."""
    with postgres_server.fresh_database(template=posted) as database:
        yield database


@pytest.fixture
def checking(copied: Database) -> Iterator[Books]:
    with books(copied) as opened:
        yield opened


@pytest.fixture
def ledger(copied: Database) -> Iterator[Ledger]:
    with postgres_ledger(copied) as opened:
        yield opened


def do(database: Database, statement: str) -> None:
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute(statement, VALUES)
        assert cursor.rowcount > 0


def told(found: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.broken.check, finding.broken.subject) for finding in found}


def entries_of(database: Database) -> int:
    with session(database.owner_dsn) as cursor:
        cursor.execute("SELECT count(*) FROM transactions.entry")
        [(count,)] = cursor.fetchall()
    return int(count)


WHOLE, TINY = {"accounts": 2000, "entries": 20_000}, {"accounts": 3, "entries": 2}


def cut_into(pages: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A lap."""
    monkeypatch.setattr(integrity_check, "_PAGE", pages | {"findings_max": FINDINGS_MAX})
    monkeypatch.setattr(integrity_check, "TIME_PAGE", pages["entries"])


@pytest.fixture(params=[WHOLE, TINY], ids=["whole", "cut"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large they are, they tell the same."""
    cut_into(request.param, monkeypatch)


@pytest.mark.parametrize("accounts", [1, 3, 2000])
@pytest.mark.parametrize("entries", [2, 3, 20_000])
def test_a_sound_ledger_is_found_sound_with_all_of_its_entries(
    copied: Database, checking: Books, monkeypatch: pytest.MonkeyPatch, accounts: int, entries: int
) -> None:
    cut_into({"accounts": accounts, "entries": entries}, monkeypatch)
    assert checking.look_at_all_new(limit=entries) == []
    found, lap = checking.lap()
    checked = checking.checked()
    assert (found, checked.findings) == ([], [])
    assert entries_of(copied) == checked.entries == lap.entries
    assert lap.seconds > 0


def test_nothing_was_checked_before_the_first_look(checking: Books) -> None:
    checked = checking.checked()
    assert (checked.check_time, checked.lap_time, checked.entries, checked.findings) == (None, None, 0, [])


@pytest.mark.parametrize(("statement", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damage_of_what_is_new_is_found_by_the_next_look(
    copied: Database, checking: Books, statement: str, expected: set[tuple[str, str]]
) -> None:
    do(copied, statement)
    assert expected <= told(checking.look_at_all_new())


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(("statement", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damage_of_what_is_old_is_found_by_the_next_lap(
    copied: Database, checking: Books, statement: str, expected: set[tuple[str, str]]
) -> None:
    assert checking.look_at_all_new() == []
    do(copied, statement)
    assert checking.look_at_all_new() == []
    found, _ = checking.lap()
    assert expected <= told(found)
    assert told([*checking.checked().findings]) == told(found)


OF_HOLDS_AND_PAYOUTS: list[tuple[str, str, str, str, str, list[int | str]]] = [
    # check, of, table, row, columns, what they say instead
    ("HOLD_AS_PLACED", "open", "hold", "open", "source", ["wallets/carol"]),
    ("HOLD_AS_PLACED", "open", "hold", "open", "destination", ["wallets/carol"]),
    ("HOLD_AS_PLACED", "open", "hold", "open", "currency", ["EUR"]),
    ("HOLD_AS_PLACED", "captured", "transaction", "open", "source", ["wallets/carol"]),
    ("HOLD_AS_PLACED", "captured", "transaction", "open", "currency", ["EUR"]),
    ("HOLD_AS_PLACED", "captured", "transaction", "open", "kind", [8]),
    ("HOLD_AS_PLACED", "captured", "transaction", "open", "state, failure_reason", [2, "X"]),
    ("PAYOUT_AS_ASKED", "paid_out", "payout", "paid_out", "wallet", ["wallets/carol"]),
    ("PAYOUT_AS_ASKED", "paid_out", "payout", "paid_out", "currency", ["EUR"]),
    ("PAYOUT_AS_ASKED", "paid_out", "payout", "paid_out", "provider", ["other"]),
    ("PAYOUT_AS_ASKED", "paid_out", "payout", "paid_out", "beneficiary", ["Mallory"]),
    ("PAYOUT_AS_ASKED", "paid_out", "payout", "paid_out", "amount", [6]),
]


def test_whatever_a_hold_or_a_payout_says_is_compared(copied: Database, checking: Books) -> None:
    for check, of, table, row, columns, wrong in OF_HOLDS_AND_PAYOUTS:
        with unguarded(copied.owner_dsn) as cursor:
            cursor.execute(f"SELECT {columns} FROM {table} WHERE id = %s", [VALUES[row]])  # noqa: S608 - our own text
            [right] = cursor.fetchall()
        places = ", ".join(["%s"] * len(wrong))
        change = f"UPDATE {table} SET ({columns}) = ROW({places}) WHERE id = %s"  # noqa: S608 - as above
        for values in (wrong, right):
            with unguarded(copied.owner_dsn) as cursor:
                cursor.execute(change, [*values, VALUES[row]])
            checking.lap()
            is_found = (check, f"transactions/{VALUES[of]}") in told([*checking.checked().findings])
            assert is_found is (values is wrong), (table, columns)


def test_what_is_held_is_looked_at_with_whatever_changes_it(copied: Database, checking: Books, ledger: Ledger) -> None:
    checking.look_at_all_new()
    placed, short = placing("alice", "bob", 3), placing("alice", "bob", 3, ttl=timedelta(microseconds=1))
    for movement in (placed, capture(placed, 1), release(placed), short, expiry(short)):
        assert [code(answer) for answer in ledger.post(movement)] == ["POSTED"]
        do(copied, "UPDATE account SET held = held + 1 WHERE id = %(alice)s")
        assert told(checking.look_at_all_new()) == {("HELD_IS_HOLDS", ALICE)}
        do(copied, "UPDATE account SET held = held - 1 WHERE id = %(alice)s")
        checking.lap()


ONLY_OLD = {
    "what nobody has entries of": (
        "UPDATE account SET balance = 1 WHERE id = %(empty)s",
        {("BALANCE_IS_SUM", "wallets/empty"), ("SUM_IS_ZERO", "USD")},
    ),
    "what nobody has holds of": (
        "UPDATE account SET held = 1, floor = -1 WHERE id = %(empty)s",
        {("HELD_IS_HOLDS", "wallets/empty")},
    ),
    "an entry of an account and of a transaction that never were": (
        "INSERT INTO entry VALUES (%(nobody)s, 1, %(never)s, 5, 5, now())",
        {("NO_GAP", f"transactions/{VALUES['never']}"), ("ENTRY_IS_POSTED", f"transactions/{VALUES['never']}")},
    ),
}


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(("statement", "expected"), ONLY_OLD.values(), ids=ONLY_OLD)
def test_a_lap_finds_what_no_transaction_leads_to(
    copied: Database, checking: Books, statement: str, expected: set[tuple[str, str]]
) -> None:
    checking.look_at_all_new()
    do(copied, statement)
    assert told(checking.lap()[0]) == expected


def test_what_is_found_is_told_with_what_it_is_and_what_it_should_be(copied: Database, checking: Books) -> None:
    do(copied, "UPDATE entry SET amount = 31 WHERE account_id = %(bob)s AND transaction_id = %(paid)s")
    do(copied, "UPDATE account SET held = 8 WHERE id = %(alice)s")
    details = {finding.broken.check: finding.broken.detail for finding in checking.look_at_all_new()}
    assert details == {
        NOT_AS_ASKED: "its entries are not those that its accounts, amount, fee or postings ask for",
        "SUM_IS_ZERO": "its entries in USD sum to 1 and not to 0",
        "BALANCE_IS_SUM": "entry 2 found 19, entry 1 has left 20",
        "HELD_IS_HOLDS": "8 is held, its open holds reserve 7",
    }


def test_a_finding_is_new_once_and_goes_when_a_whole_lap_no_longer_finds_it(copied: Database, checking: Books) -> None:
    do(copied, "UPDATE account SET balance = balance + 1 WHERE id = %(alice)s")
    [first] = checking.look_at_all_new()
    assert first.broken[:2] == ("BALANCE_IS_SUM", ALICE)
    found, _ = checking.lap()
    assert told(found) == {("SUM_IS_ZERO", "USD")}
    [kept, _] = checking.checked().findings
    assert (kept.broken, kept.find_time) == (first.broken, first.find_time)
    do(copied, "UPDATE account SET balance = balance - 1 WHERE id = %(alice)s")
    assert len(checking.checked().findings) == 2
    assert checking.lap()[0] == []
    assert checking.checked().findings == []


def test_what_is_found_beside_a_lap_outlives_it(copied: Database, checking: Books) -> None:
    assert checking.go_on() is not None  # it has begun
    do(copied, "UPDATE account SET balance = balance + 1 WHERE id = %(alice)s")
    [new] = checking.look_at_all_new()
    do(copied, "UPDATE account SET balance = balance - 1 WHERE id = %(alice)s")
    checking.lap()
    assert checking.checked().findings == [new]
    checking.lap()
    assert checking.checked().findings == []


def test_a_lap_begins_no_sooner_than_it_should(copied: Database, checking: Books) -> None:
    checking.look_at_all_new()
    checking.lap()
    page = checking.go_on(every_seconds=1000)
    assert page is not None
    assert 900 < page.rest_seconds <= 1000
    assert checking.checked().lap_time is not None
    do(copied, "UPDATE integrity SET lap_seconds = 500")
    page = checking.go_on(every_seconds=1000)
    assert page is not None
    assert 400 < page.rest_seconds <= 500, "from the beginning of one to that of the next"


def test_behind_a_page_nobody_goes_on_before_its_rest_is_over(copied: Database, checking: Books) -> None:
    asyncio.run(checking.checks.go_on_with_lap(0, rest_per_work=1_000_000))
    pages = [checking.go_on() for _ in range(5)]
    assert [page is not None and page.rest_seconds > 0 and page.ended is None for page in pages] == [True] * 5
    do(copied, "UPDATE integrity SET lap_rest_until = now()")
    assert checking.lap()[0] == []


def test_what_is_held_by_very_many_holds_is_left_to_the_lap(
    copied: Database, checking: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(copied, "UPDATE account SET held = 8 WHERE id = %(alice)s")
    monkeypatch.setattr(integrity_check, "HOLDS_MAX", 0)
    assert checking.look_at_all_new() == []
    assert told(checking.lap()[0]) == {("HELD_IS_HOLDS", ALICE)}


def test_a_lap_goes_without_sums_that_take_too_long(copied: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity_statements, "LOOK_AT_SUMS", text("SELECT pg_sleep(1000)"))
    do(copied, "UPDATE account SET balance = balance + 1 WHERE id = %(empty)s")
    with books(copied, timeout_seconds=1) as checking, capture_logs() as logs:
        found, _ = checking.lap()
    assert told(found) == {("BALANCE_IS_SUM", "wallets/empty")}
    assert [log["event"] for log in logs] == ["integrity_sums_skipped"]


def test_who_comes_while_somebody_is_at_it_is_told_so(copied: Database, checking: Books) -> None:
    with session(copied.transaction_dsn) as cursor:
        cursor.execute(integrity_statements.TRY_LOCK)
        assert cursor.fetchall() == [(True,)]
        assert (checking.look(), checking.go_on()) == (None, None)
    assert checking.look() is not None


def test_what_is_not_looked_at_yet_is_told_by_how_long_it_has_been_there(checking: Books) -> None:
    step = checking.look(limit=1)
    assert step is not None
    assert (step.more, step.lag_seconds > 0) == (True, True)
    checking.look_at_all_new()
    step = checking.look()
    assert step is not None
    assert (step.entries, step.more, step.lag_seconds) == (0, False, 0)


def test_what_comes_behind_a_transaction_that_is_open_waits_for_it(
    copied: Database, checking: Books, ledger: Ledger
) -> None:
    checking.look_at_all_new()
    before = checking.checked().entries
    with session(copied.owner_dsn) as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        assert [code(answer) for answer in ledger.post(transfer("alice", "bob", 1))] == ["POSTED"]
        step = checking.look()
        assert step is not None
        assert (step.entries, step.lag_seconds > 0) == (0, True)
        assert checking.lap()[0] == []
    checking.look_at_all_new()
    assert checking.checked().entries == before + 2


def test_an_account_is_checked_whole_and_at_once(copied: Database, checking: Books) -> None:
    assert [checking.of_account(f"wallets/{name}") for name in ("alice", "bob", "empty")] == [[], [], []]
    assert checking.of_account(cash("USD")) == []
    do(copied, "UPDATE entry SET balance = balance + 1 WHERE account_id = %(alice)s AND seq = 2")
    do(copied, "UPDATE account SET held = 8 WHERE id = %(alice)s")
    assert [broken[:2] for broken in checking.of_account(ALICE)] == [
        ("BALANCE_IS_SUM", ALICE),
        ("HELD_IS_HOLDS", ALICE),
    ]
    assert checking.of_account(BOB) == []
    assert checking.checked().findings == []
