"""UpdateWebhookEndpoint's mask, and which events an endpoint is sent."""

import pytest

from transaction_service.webhooks.endpoint import Wish, delivery_id, event_id, wants
from transaction_service.webhooks.types import EventType
from transaction_service.webhooks.update import ALL, Field, ImmutableField, UnknownPath, fields, updated

OLD = Wish("https://old.example/", ("transaction.posted",), "wallets/alice", "old")
NEW = Wish("https://new.example/", ("payout.dead", "payout.paid"), "wallets/bob", "new")
OTHER = "webhookEndpoints/11111111-1111-1111-1111-111111111111"
OWN_ID = "22222222-2222-2222-2222-222222222222"


def test_a_mask_names_what_is_set() -> None:
    named = fields(["wallet", "description", "wallet"], NEW)
    assert updated(OLD, named, NEW) == Wish(OLD.url, OLD.event_types, "wallets/bob", "new")


def test_a_named_field_can_be_emptied() -> None:
    empty = Wish("")
    assert updated(OLD, fields(["event_types", "wallet"], empty), empty) == Wish(OLD.url, (), "", "old")


def test_without_a_mask_what_is_given_is_set() -> None:
    given = Wish("", (), "", "new")
    assert fields([], given) == {Field.DESCRIPTION}
    assert updated(OLD, fields([], given), given) == Wish(OLD.url, OLD.event_types, OLD.wallet, "new")


def test_a_star_stands_for_all() -> None:
    assert fields(["*"], NEW) == ALL
    assert updated(OLD, ALL, NEW) == NEW


@pytest.mark.parametrize("mask", [["*", "url"], ["urls"], ["url", "secret"], [""], ["url.host"]])
def test_other_paths_are_refused(mask: list[str]) -> None:
    with pytest.raises(UnknownPath):
        fields(mask, NEW)


def test_what_the_service_gives_cannot_be_set() -> None:
    with pytest.raises(ImmutableField, match="state"):
        fields(["url", "state"], NEW)


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        (Wish("u"), True),
        (Wish("u", ("transaction.posted",)), True),
        (Wish("u", ("transaction.failed",)), False),
        (Wish("u", (), "wallets/alice"), True),
        (Wish("u", (), "wallets/carol"), False),
        (Wish("u", ("transaction.posted",), "wallets/bob"), True),
        (Wish("u", ("transaction.failed",), "wallets/bob"), False),
    ],
)
def test_an_endpoint_is_sent_what_it_has_asked_for(wish: Wish, sent: bool) -> None:
    wallets = ["wallets/alice", "wallets/bob"]
    assert wants(OWN_ID, wish, EventType.TRANSACTION_POSTED, "transactions/1", wallets) is sent


def test_an_endpoint_is_told_of_the_end_of_others_only() -> None:
    disabled = EventType.WEBHOOK_ENDPOINT_DISABLED
    assert wants(OWN_ID, Wish("u"), disabled, OTHER, [])
    assert not wants(OWN_ID, Wish("u"), disabled, f"webhookEndpoints/{OWN_ID}", [])


def test_an_event_has_one_id_and_one_delivery_to_each() -> None:
    first = event_id(EventType.PAYOUT_DEAD, "payouts/1")
    assert first.startswith("evt_")
    assert len(first) == len("evt_") + 32
    assert first == event_id("payout.dead", "payouts/1", 1)
    assert len({first, event_id("payout.dead", "payouts/1", 2), event_id("payout.paid", "payouts/1")}) == 3
    assert delivery_id(OWN_ID, first) == delivery_id(OWN_ID, first) != delivery_id(OTHER, first)
