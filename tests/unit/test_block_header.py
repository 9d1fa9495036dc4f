"""The text of a block that is hashed and signed has one form only."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_chain.header import BEGINNING, GENESIS, TRANSACTIONS_MAX, Header, MalformedHeader, Mark, hash_of, parsed

ID = "0123abcd-0000-0000-0000-ffffffffffff"
FIRST = Header(
    number=1,
    transactions=3,
    root=bytes(range(32)),
    previous=GENESIS,
    after=BEGINNING,
    until=Mark(1234, ID),
    sealed=datetime(2026, 11, 21, 12, 0, 5, 70, tzinfo=UTC),
    key_id="00112233445566ff",
)
TEXT = """specie-block 1
number 1
transactions 3
root 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
previous 0000000000000000000000000000000000000000000000000000000000000000
after 0 00000000-0000-0000-0000-000000000000
until 1234 0123abcd-0000-0000-0000-ffffffffffff
sealed 2026-11-21T12:00:05.000070Z
key 00112233445566ff
"""


def test_a_header_is_one_line_a_fact() -> None:
    assert FIRST.text() == TEXT


def test_what_was_written_is_read_back() -> None:
    assert parsed(TEXT) == FIRST


def test_its_hash_is_that_of_its_bytes() -> None:
    assert hash_of(TEXT) == sha256(TEXT.encode()).digest()


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    elsewhere = FIRST.sealed.astimezone(timezone(timedelta(hours=-5)))
    assert FIRST._replace(sealed=elsewhere).text() == TEXT


@given(
    st.builds(
        Header,
        number=st.integers(1, 2**63 - 1),
        transactions=st.integers(1, TRANSACTIONS_MAX),
        root=st.binary(min_size=32, max_size=32),
        previous=st.binary(min_size=32, max_size=32),
        after=st.builds(Mark, st.integers(0, 2**63 - 1), st.uuids().map(str)),
        until=st.builds(Mark, st.integers(0, 2**63 - 1), st.uuids().map(str)),
        sealed=st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - it gets its zone there
        key_id=st.binary(min_size=8, max_size=8).map(bytes.hex),
    )
)
def test_every_header_is_read_back(header: Header) -> None:
    assert parsed(header.text()) == header


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("specie-block 1", "specie-block 2"),
        ("number 1\n", "number 0\n"),
        ("number 1\n", "number 01\n"),
        ("number 1\n", f"number {10**19}\n"),
        ("transactions 3", "transactions  3"),
        ("transactions 3", "transactions 0"),
        ("transactions 3", "transactions 100000"),
        ("root 00", "root 0"),
        ("root 000102", "root 00010G"),
        ("0a0b0c", "0A0B0C"),
        ("after 0 ", "after 00 "),
        ("after 0 ", "after -1 "),
        ("after 0 ", f"after {10**19} "),
        ("until 1234 0123", "until 1234 0123-"),
        ("2026-11-21T12", "2026-13-21T12"),
        ("2026-11-21T12", "2026-11-21 12"),
        ("Z\n", "+00:00\n"),
        ("0123abcd-0000-0000-0000-ffffffffffff", "0123abcd-0000-0000-0000-fffffffffffF"),
        ("key 0011", "key 0x11"),
        ("66ff\n", "66f\n"),
        ("66ff\n", "66fff\n"),
        ("key", "\nkey"),
        ("66ff\n", "66ff"),
        ("66ff\n", "66ff\n\n"),
        ("\n", "\r\n"),
        ("number 1\ntransactions 3\n", "transactions 3\nnumber 1\n"),
    ],
)
def test_whatever_is_not_in_this_form_is_no_header(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(MalformedHeader):
        parsed(TEXT.replace(old, new, 1))
