"""Entries that no transaction has posted, put in so that all sums and numbers hold: they are in no record, so the audit
chain does not see them."""

from collections.abc import Iterator

import pytest

from tests.kit.builders import code, transfer
from tests.kit.checked import Books, books
from tests.kit.everything import VALUES, post_something_of_everything
from tests.kit.ledgers import Ledger, postgres_ledger
from tests.kit.postgres import Database, Server
from tests.kit.tampering import unguarded
from transaction_service.adapters import integrity_check
from transaction_service.integrity.findings import Finding

PAIR = """
WITH moved (id, amount) AS (VALUES (CAST(%(alice)s AS uuid), 5::bigint), (CAST(%(bob)s AS uuid), -5)),
    raised AS (
        UPDATE account SET version = version + 1, balance = balance + moved.amount FROM moved
        WHERE moved.id = account.id RETURNING account.id, version, balance, moved.amount)
INSERT INTO entry SELECT id, version, %(of)s, amount, balance, {time} FROM raised
"""
"""Five more for alice, from bob, by entries that are linked to those before and add up."""
OF = "(SELECT decide_time {0} FROM transaction WHERE id = %(of)s)"
FORGED = {
    "of a posted one, a moment later": ("paid", OF.format("+ interval '1 microsecond'"), "was decided at "),
    "of a posted one, at the time of another": (
        "paid",
        "(SELECT decide_time FROM transaction WHERE id = %(split)s)",
        "was decided at ",
    ),
    "of a posted one, years before": ("paid", OF.format("- interval '9 years'"), "was decided at "),
    "of a posted one, years later": ("paid", OF.format("+ interval '9 years'"), "was decided at "),
    "of a posted one, before all time": ("paid", "'-infinity'", "was decided at "),
    "of a posted one, when all is over": ("paid", "'infinity'", "was decided at "),
    "of one that never was": ("never", "(SELECT decide_time FROM transaction WHERE id = %(paid)s)", "does not exist"),
    "of one that was refused": ("poor", OF.format("+ interval '1 hour'"), "is not posted"),
    "of one that waits": ("waiting", OF.format(""), "is not posted"),
    "of one that moves no money": ("open", OF.format("- interval '1 hour'"), "moves no money"),
}


@pytest.fixture(scope="module")
def posted(postgres_server: Server) -> Iterator[str]:
    with postgres_server.fresh_database() as database:
        post_something_of_everything(database)
        yield database.owner_dsn.rpartition("/")[2]


@pytest.fixture
def copied(postgres_server: Server, posted: str) -> Iterator[Database]:
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


def forge(database: Database, of: str, time: str) -> None:
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute(PAIR.format(time=time), VALUES | {"of": VALUES[of]})
        assert cursor.rowcount == 2


def strays(found: list[Finding]) -> list[tuple[str, str]]:
    return [
        (finding.broken.subject, finding.broken.detail)
        for finding in found
        if finding.broken.check == "ENTRY_IS_POSTED"
    ]


@pytest.mark.parametrize("page", [2, 10_000])
@pytest.mark.parametrize(("of", "time", "told"), FORGED.values(), ids=FORGED)
def test_a_lap_finds_them_wherever_they_are_in_time(
    copied: Database, checking: Books, monkeypatch: pytest.MonkeyPatch, page: int, of: str, time: str, told: str
) -> None:
    monkeypatch.setattr(integrity_check, "TIME_PAGE", page)
    checking.look_at_all_new()
    forge(copied, of, time)
    assert checking.look_at_all_new() == []
    found, _ = checking.lap()
    # One that says that it is of a transaction in its own time is one too many of that.
    if told == "is not posted" and of == "waiting":
        assert {finding.broken.subject for finding in found} == {f"transactions/{VALUES[of]}"}
    [(subject, detail)] = strays(found)
    assert subject == f"transactions/{VALUES[of]}"
    assert told in detail
    assert "of wallets/" in detail


def test_one_too_many_at_the_time_of_its_transaction_is_not_as_asked(copied: Database, checking: Books) -> None:
    checking.look_at_all_new()
    forge(copied, "paid", OF.format(""))
    assert [finding.broken[:2] for finding in checking.lap()[0]] == [
        ("ENTRIES_AS_ASKED", f"transactions/{VALUES['paid']}")
    ]


@pytest.mark.parametrize(("of", "time", "told"), FORGED.values(), ids=FORGED)
def test_the_next_look_finds_them_when_somebody_spends_what_they_brought(
    copied: Database, checking: Books, ledger: Ledger, of: str, time: str, told: str
) -> None:
    checking.look_at_all_new()
    forge(copied, of, time)
    assert [code(answer) for answer in ledger.post(transfer("alice", "carol", 1))] == ["POSTED"]
    [(subject, detail)] = strays(checking.look_at_all_new())
    assert subject == f"transactions/{VALUES[of]}"
    assert told in detail


def test_the_next_look_finds_them_among_what_is_posted_then(copied: Database, checking: Books, ledger: Ledger) -> None:
    checking.look_at_all_new()
    ledger.post(transfer("carol", "empty", 1))
    forge(copied, "never", "clock_timestamp()")
    ledger.post(transfer("carol", "empty", 1))
    assert strays(checking.look_at_all_new())[0][0] == f"transactions/{VALUES['never']}"


def test_the_next_look_finds_them_behind_what_is_new(copied: Database, checking: Books, ledger: Ledger) -> None:
    checking.look_at_all_new()
    ledger.post(transfer("alice", "carol", 1))
    forge(copied, "paid", OF.format("- interval '1 year'"))
    assert strays(checking.look_at_all_new())[0][0] == f"transactions/{VALUES['paid']}"


@pytest.mark.parametrize(("of", "time", "told"), FORGED.values(), ids=FORGED)
def test_an_account_that_is_checked_at_once_tells_them(
    copied: Database, checking: Books, of: str, time: str, told: str
) -> None:
    forge(copied, of, time)
    [broken] = checking.of_account("wallets/alice")
    assert broken[:2] == ("ENTRY_IS_POSTED", f"transactions/{VALUES[of]}")
    assert told in broken.detail
