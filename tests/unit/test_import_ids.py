"""The request ids of a file's lines: the same in every run, whatever happened to the file, and never the same twice."""

import io
import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from specie_cli.imports.checking import Checked, check, sendable
from specie_cli.imports.csv_rows import CsvRows
from specie_cli.imports.json_rows import JsonRows
from specie_cli.imports.lines import Lines
from specie_cli.imports.request_ids import Repeats, following
from specie_cli.imports.row import Broken
from specie_cli.imports.spool import Spool

HEADER = "source,destination,amount,currency,request_id"
ROWS = ["alice,bob,1,USD,", "alice,bob,2,USD,", "alice,carol,1,USD,"]


def ids(rows: Iterable[str], header: str = HEADER, series: str = "") -> list[str]:
    """Of the lines that would be sent."""
    return [request_id for _, request_id in sent("\n".join([header, *rows]), series)]


def sent(content: str, series: str = "") -> list[tuple[int, str]]:
    """Line and request id."""
    with Spool(series) as spool:
        check(CsvRows(Lines(io.BytesIO(content.encode()))), spool, lambda _: None)
        return [(numbered.row.line, numbered.row.request.request_id) for numbered in sendable(spool)]


def checked(rows: Iterable[str]) -> tuple[Checked, list[Broken]]:
    broken: list[Broken] = []
    with Spool("") as spool:
        content = "\n".join([HEADER, *rows])
        return check(CsvRows(Lines(io.BytesIO(content.encode()))), spool, broken.append), broken


def test_the_same_file_has_the_same_ids_for_ever() -> None:
    # Written down: a version that derives others would pay what an earlier one has paid.
    assert ids(["alice,bob,1,USD,"] * 2) == [
        "import-c448f6c3b652c2edc77c490bda3757d7",
        "import-69c2cd3fd66f61cbad39bfd661847cd9",
    ]


def test_lines_that_are_added_moved_or_mended_change_no_other_id() -> None:
    before = dict(zip(ROWS, ids(ROWS), strict=True))
    assert len(set(before.values())) == 3
    assert ids(["dave,bob,9,USD,", *reversed(ROWS)])[1:] == [before[row] for row in reversed(ROWS)]
    mended = ids([ROWS[0], "alice,bob,3,USD,", ROWS[2]])
    assert (mended[0], mended[2]) == (before[ROWS[0]], before[ROWS[2]])
    assert mended[1] not in before.values()


def test_how_the_file_is_written_does_not_matter() -> None:
    line = json.dumps({"amount": {"minorUnits": "1", "currencyCode": "USD"}, "destination": "bob", "source": "alice"})
    with Spool("") as spool:
        check(JsonRows(Lines(io.BytesIO(line.encode()))), spool, lambda _: None)
        (of_json,) = [numbered.row.request.request_id for numbered in spool]
    assert [of_json] == ids([ROWS[0]]) == ids(["1;usd;wallets/bob;wallets/alice"], "amount;currency;destination;source")


def test_equal_lines_are_transfers_of_their_own_and_are_told() -> None:
    rows = [ROWS[0], ROWS[1], ROWS[0], ROWS[0]]
    assert len(set(ids(rows))) == 4
    assert ids(rows[:3]) == ids(rows)[:3]
    found, broken = checked(rows)
    assert (found.to_send, found.alike, found.first_alike, broken) == (4, 2, 4, [])
    assert found.totals == {"USD": 5}


def test_another_series_is_other_transfers() -> None:
    assert not set(ids(ROWS, series="2026-11")) & set(ids(ROWS)) | set(ids(ROWS, series="2026-12")) & set(ids(ROWS))


def test_given_ids_are_taken_and_must_not_stand_twice() -> None:
    rows = ["alice,bob,1,USD,a", "alice,bob,1,USD,", "alice,bob,1,USD,b", "alice,bob,7,USD,a", "alice,bob,1,USD,a"]
    assert ids(rows) == ["a", ids(ROWS)[0], "b"]
    found, broken = checked(rows)
    assert [str(flaw) for each in broken for flaw in each.flaws] == [
        "line 5, request_id: a stands further up in the file; every transfer needs one of its own",
        "line 6, request_id: a stands further up in the file; every transfer needs one of its own",
    ]
    assert (found.to_send, found.broken, found.totals["USD"]) == (3, 2, 3)


def test_a_further_attempt_has_an_id_of_its_own_and_the_same_each_time() -> None:
    first = ids(ROWS)[0]
    assert following(first) == following(first)
    assert len({first, following(first), following(following(first)), following("x" * 128)}) == 4


def test_the_first_flaws_are_kept_and_all_are_counted() -> None:
    found, broken = checked(["alice,bob,x,USD,"] * 250)
    assert (found.broken, found.flaws, len(found.shown), len(broken)) == (250, 250, 100, 250)


@given(st.lists(st.binary(min_size=9, max_size=10).map(lambda tail: tail[:1] * 8 + tail[1:])))
def test_repeats_are_counted_also_when_keys_begin_alike(keys: list[bytes]) -> None:
    repeats = Repeats()
    for key in keys:
        repeats.add(key)
    repeats.close()
    for _ in range(2):
        repeats.begin()
        assert [repeats.nth(key) for key in keys] == [keys[: i + 1].count(key) for i, key in enumerate(keys)]
