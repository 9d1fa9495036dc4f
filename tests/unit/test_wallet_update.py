"""UpdateWallet's rules: masks, and what an update does."""

from dataclasses import replace

import pytest

from tests.kit.wallets import stored
from wallet_service.domain import update
from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.lifecycle import Then
from wallet_service.domain.update import ALL, Field
from wallet_service.domain.wallet import Limits, Particulars, TurnedDown, Updating, Wallet, WalletState

OLD = Particulars("old", {"a": "1"}, Limits(credit_minor_units=100))
NEW = Particulars("new", {"b": "2"}, Limits(credit_minor_units=5))
ALICE = stored(WalletState.ACTIVE, particulars=OLD)

MASKS = [
    # mask                       values                       expected
    (["display_name"],           Particulars(),               {Field.DISPLAY_NAME}),
    (["labels", "limits"],       NEW,                         {Field.LABELS, Field.LIMITS}),
    (["labels", "labels"],       NEW,                         {Field.LABELS}),
    (["*"],                      Particulars(),               ALL),
    ([],                         Particulars(),               set()),
    ([],                         NEW,                         ALL),
    ([],                         Particulars("x"),            {Field.DISPLAY_NAME}),
    ([],                         Particulars(limits=Limits(time_zone="UTC")), {Field.LIMITS}),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "values", "expected"), MASKS)
def test_a_mask_names_fields(mask: list[str], values: Particulars, expected: set[Field]) -> None:
    assert update.fields(mask, values) == frozenset(expected)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (["owner"], Reason.IMMUTABLE_FIELD),
        (["display_name", "currency_code"], Reason.IMMUTABLE_FIELD),
        (["state"], Reason.IMMUTABLE_FIELD),
        (["*", "labels"], Reason.INVALID_FIELD),
        (["displayName"], Reason.INVALID_FIELD),
        (["limits.time_zone"], Reason.INVALID_FIELD),
        ([""], Reason.INVALID_FIELD),
    ],
)
def test_a_mask_is_refused(mask: list[str], reason: Reason) -> None:
    refused = update.fields(mask, NEW)
    assert isinstance(refused, Failure)
    assert refused.reason is reason


def test_what_does_not_concern_the_account_changes_at_once() -> None:
    changed = update.update(ALICE, frozenset({Field.DISPLAY_NAME, Field.LABELS}), NEW, "")
    assert changed == replace(ALICE, particulars=Particulars("new", {"b": "2"}, OLD.limits))


def test_changed_limits_are_an_attempt_with_all_that_was_asked_for_together() -> None:
    changed = update.update(ALICE, ALL, NEW, ALICE.etag)
    assert changed == replace(ALICE, attempt=Updating(8, NEW))


def test_only_named_fields_change() -> None:
    changed = update.update(ALICE, frozenset({Field.LIMITS}), NEW, "")
    assert isinstance(changed, Wallet)
    assert changed.attempt == Updating(8, Particulars("old", {"a": "1"}, NEW.limits))


@pytest.mark.parametrize("fields", [frozenset[Field](), ALL])
def test_what_is_so_already_needs_no_change(fields: frozenset[Field]) -> None:
    assert update.update(ALICE, fields, OLD if fields else NEW, "") is Then.DONE


@pytest.mark.parametrize("state", set(WalletState) - {WalletState.ACTIVE, WalletState.FROZEN})
def test_a_wallet_that_is_passing_or_closed_is_not_changed(state: WalletState) -> None:
    refused = update.update(stored(state), ALL, NEW, "")
    assert refused == Failure(Reason.WALLET_STATE, {"wallet": "wallets/alice", "state": state.name})


def test_another_etag_is_refused() -> None:
    refused = update.update(ALICE, ALL, NEW, "other")
    assert refused == Failure(Reason.ETAG_MISMATCH, {"wallet": "wallets/alice", "etag": "other"})


def test_an_update_under_way_ends_first() -> None:
    busy = replace(ALICE, attempt=Updating(7, NEW))
    assert update.update(busy, ALL, NEW, busy.etag) is Then.SETTLE


def test_the_caller_hears_what_became_of_its_own_update() -> None:
    failure = Failure(Reason.FLOOR_ABOVE_BALANCE)
    later = replace(ALICE, update_revision=9, turned_down=TurnedDown(8, failure))
    assert update.outcome(later, 9) is None
    assert update.outcome(later, 8) == failure


def test_an_update_that_was_overtaken_twice_is_for_the_caller_to_look_at() -> None:
    heard = update.outcome(replace(ALICE, update_revision=9), 8)
    assert heard is not None
    assert heard.reason is Reason.ETAG_MISMATCH
