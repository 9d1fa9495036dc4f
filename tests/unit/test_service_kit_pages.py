"""Page tokens: they give the position back to the query that they were made for, and to nothing else."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit import pages
from service_kit.status import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
POSITIONS = st.lists(JSON, max_size=4)
FILTERS = st.lists(st.text() | st.integers() | st.booleans() | st.none(), max_size=4)


def refused(token: str, *filters: object) -> bool:
    try:
        pages.decode(token, *filters)
    except Refusal as refusal:
        return refusal.reason == "INVALID_PAGE_TOKEN"
    return False


@given(POSITIONS, FILTERS)
def test_a_token_gives_its_position_back_to_its_query(position: list[Any], filters: list[object]) -> None:
    token = pages.encode(position, *filters)
    assert pages.decode(token, *filters) == position
    assert token.isascii()
    assert "=" not in token


@given(POSITIONS, FILTERS, FILTERS)
def test_a_token_is_for_its_own_filters_only(position: list[Any], filters: list[object], others: list[object]) -> None:
    assert refused(pages.encode(position, *filters), *others) is (repr(filters) != repr(others))


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused(token: str) -> None:
    assert refused(token, "entries")


@given(POSITIONS, st.data())
def test_a_token_with_one_letter_changed_is_refused(position: list[Any], data: st.DataObject) -> None:
    token = pages.encode(position, "entries")
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCXYZabcxyz0189-_").filter(lambda letter: letter != token[place]))
    changed = token[:place] + letter + token[place + 1 :]
    # The last letter may have bits that no byte needs: then nothing has changed.
    same = base64.urlsafe_b64decode(changed + "==") == base64.urlsafe_b64decode(token + "==")
    assert refused(changed, "entries") is not same


@pytest.mark.parametrize(
    "token", ["", "x", "=", "====", "a=b", "\u00fc", "\u0430bc", "a b", "a\nb", "\0", "+/+/", "\U0001f600" * 9]
)
def test_strange_texts_are_refused(token: str) -> None:
    assert refused(token)


def test_a_sealed_token_whose_inside_is_no_json_is_refused() -> None:
    body = b"\xff{"
    token = base64.urlsafe_b64encode(pages._seal(body, ("entries",)) + body).decode()
    assert refused(token, "entries")


@pytest.mark.parametrize(
    ("asked", "given_"), [(0, 50), (1, 1), (50, 50), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_page_sizes(asked: int, given_: int) -> None:
    assert pages.page_size(asked) == given_
