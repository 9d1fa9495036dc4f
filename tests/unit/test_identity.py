"""Derived ids and fingerprints: the same for ever, and never two things under one."""

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from tests.kit.builders import NOON, transfer
from transaction_service.domain.identity import account_id, derived_id, label_id, transaction_id
from transaction_service.domain.movement import Movement, TransactionKind, movement
from transaction_service.domain.terms import Fee, Posting, Terms


def test_ids_stay_what_they_are() -> None:
    """Stored rows carry them: another id for the same name or key would pay twice. Made with Python's hashlib by hand:
    blake2b(b"13:wallets/alice", digest_size=16)."""
    assert derived_id() == "cae66941-d9ef-bd40-4e4d-88758ea67670"
    assert account_id("wallets/alice") == "66c779ec-6de3-24c8-b320-faa487d588f9"
    assert account_id("system/cash-usd") == "de7ffa81-78fb-2c95-5572-a39045d799dd"
    assert transaction_id("local", "order-1") == "084791dc-20d0-1477-b7ed-334cd8e4958e"
    assert label_id("trip", "7") == "a28efd55-a17e-f187-f3e5-532f32c8b75d"
    assert transaction_id("local", "Zahlung ü") == "4cf18e8f-8e99-f31c-e9e9-60aecdd4de26"


def test_fingerprints_stay_what_they_are() -> None:
    made = transfer(
        "alice", "bob", 2500, "r", description="rent", external_reference="inv-7", labels={"b": "2", "a": "1"}
    )
    assert made.fingerprint == "f2c46819-858a-063a-d307-4570f216c5f7"
    priced = transfer("alice", "bob", 2500, "r", terms=Terms(fee=Fee(5, "wallets/x", included=False)), hold="h")
    assert priced.fingerprint == "b19785f8-25c0-5251-5141-2aca0c97235f"


def test_ids_are_uuids_as_postgresql_writes_them() -> None:
    for made in (account_id("wallets/a"), transaction_id("local", "r"), transfer().fingerprint):
        assert str(UUID(made)) == made


def test_parts_do_not_run_into_each_other() -> None:
    lists = [
        (),
        ("",),
        ("", ""),
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("abc", ""),
        ("", "abc"),
        ("2:ab1:c",),
        ("a1:b",),
        ("a", "b"),
        ("ü",),
        ("u\u0308",),
    ]
    assert len({derived_id(*parts) for parts in lists}) == len(lists)


def test_the_order_of_parts_counts() -> None:
    assert len({derived_id(*parts) for parts in permutations(["a", "b", "c"])}) == 6


def test_a_principal_cannot_be_mistaken_for_a_part_of_a_request_id() -> None:
    assert transaction_id("local", "x") != transaction_id("loca", "lx")
    assert transaction_id("local", "x") != account_id("localx")


ASKED: dict[str, Any] = {
    "kind": TransactionKind.TRANSFER,
    "source": "wallets/a",
    "destination": "wallets/b",
    "amount": 1,
    "currency": "USD",
    "principal": "local",
    "request_id": "r",
    "description": "d",
    "external_reference": "e",
    "labels": {"k": "v", "l": "w"},
    "trace_id": "t",
}


def asked(**changed: Any) -> Movement:  # noqa: ANN401 - any of the arguments
    return movement(**(ASKED | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": TransactionKind.DEPOSIT},
        {"source": "wallets/c"},
        {"destination": "wallets/c"},
        {"source": "wallets/b", "destination": "wallets/a"},
        {"amount": 2},
        {"currency": "EUR"},
        {"description": ""},
        {"external_reference": ""},
        {"description": "e", "external_reference": "d"},
        {"description": "de", "external_reference": ""},
        {"labels": None},
        {"labels": {"k": "v"}},
        {"labels": {"k": "w", "l": "v"}},
        {"labels": {"k": "v", "l": "w", "m": ""}},
        {"labels": {"v": "k", "l": "w"}},
        {"terms": Terms(fee=Fee(1, "wallets/c", included=False))},
        {"terms": Terms(fee=Fee(1, "wallets/c", included=True))},
        {"terms": Terms(postings=(Posting("wallets/a", 1, "USD"),))},
        {"terms": Terms(expected_version=0)},
        {"terms": Terms(minimum_after=0)},
        {"terms": Terms(deferred=True)},
        {"terms": Terms(deferred=True, execute_time=NOON)},
        {"terms": Terms(expire_time=NOON)},
        {"terms": Terms(ttl_microseconds=1)},
        {"terms": Terms(final=True)},
        {"hold": "h"},
        {"reverses": "h"},
        {"labels": {"terms": "{}", "hold": "", "reverses": ""}},
    ],
)
def test_whatever_makes_it_another_request_changes_the_fingerprint_and_not_the_id(changed: dict[str, Any]) -> None:
    other = asked(**changed)
    assert other.fingerprint != asked().fingerprint
    assert other.id == asked().id


@pytest.mark.parametrize("changed", [{"trace_id": "u"}, {"labels": {"l": "w", "k": "v"}}])
def test_a_retry_is_the_same_request(changed: dict[str, Any]) -> None:
    assert (asked(**changed).id, asked(**changed).fingerprint) == (asked().id, asked().fingerprint)


def test_labels_are_never_mistaken_for_terms() -> None:
    """Though a label may have such a name."""
    terms, alike = Terms(final=True), {"terms": '{"final": true}', "hold": "h", "reverses": "r"}
    all_asked = [
        asked(labels=None, terms=terms, hold="h", reverses="r"),
        asked(labels=alike),
        asked(labels=alike, terms=terms, hold="h", reverses="r"),
        asked(labels={"terms": '{"final": true}'}, hold="h", reverses="r"),
    ]
    assert len({made.fingerprint for made in all_asked}) == len(all_asked)


@pytest.mark.parametrize("changed", [{"principal": "shop"}, {"request_id": "s"}])
def test_who_asks_and_under_which_key_make_the_id(changed: dict[str, Any]) -> None:
    assert asked(**changed).id != asked().id
    assert asked(**changed).fingerprint == asked().fingerprint


def test_without_labels_there_are_none() -> None:
    assert asked(labels=None).labels == {}
