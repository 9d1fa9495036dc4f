"""The lifecycle's rules, row by row."""

from dataclasses import replace

import pytest

from tests.kit.wallets import stored
from wallet_service.domain import lifecycle
from wallet_service.domain.failure import Failure, InvariantViolation, Reason
from wallet_service.domain.lifecycle import Intent, OpenAccount, SetLimits, SetState, Step, Then
from wallet_service.domain.wallet import (
    PASSING,
    AccountState,
    Closing,
    Limits,
    Particulars,
    TurnedDown,
    Updating,
    Wallet,
    WalletState,
)

CREATING, ACTIVE, FREEZING, FROZEN, UNFREEZING, CLOSING, CLOSED = WalletState
OLD = Particulars("old", {"a": "1"}, Limits(credit_minor_units=100))
NEW = Particulars("new", {"b": "2"}, Limits(credit_minor_units=5))


def wallet(text: str) -> Wallet:
    """`ACTIVE`, `FROZEN updating`, `CLOSING turned down`; what is under way began at revision 6."""
    state, _, under_way = text.partition(" ")
    plain = stored(WalletState[state], particulars=OLD)
    closing = Closing(6, FROZEN) if plain.state is CLOSING else None
    match under_way:
        case "":
            return replace(plain, attempt=closing)
        case "turned down":
            assert closing is not None
            return replace(plain, attempt=replace(closing, turned_down=True))
        case "updating":
            return replace(plain, attempt=Updating(6, NEW))
        case "updating turned down":
            return replace(plain, attempt=Updating(6, OLD, turned_down=True))
    raise AssertionError(text)


BEGINNINGS = """
    CREATING             FREEZE     WALLET_STATE
    ACTIVE               FREEZE     FREEZING
    ACTIVE updating      FREEZE     FREEZING
    FREEZING             FREEZE     CARRY
    FREEZING updating    FREEZE     CARRY
    FROZEN               FREEZE     DONE
    FROZEN updating      FREEZE     DONE
    UNFREEZING           FREEZE     WALLET_STATE
    CLOSING              FREEZE     WALLET_STATE
    CLOSED               FREEZE     WALLET_STATE
    CREATING             UNFREEZE   WALLET_STATE
    ACTIVE               UNFREEZE   DONE
    FREEZING             UNFREEZE   WALLET_STATE
    FROZEN               UNFREEZE   UNFREEZING
    FROZEN updating      UNFREEZE   SETTLE
    UNFREEZING           UNFREEZE   CARRY
    CLOSING              UNFREEZE   WALLET_STATE
    CLOSED               UNFREEZE   WALLET_STATE
    CREATING             CLOSE      WALLET_STATE
    ACTIVE               CLOSE      CLOSING
    ACTIVE updating      CLOSE      SETTLE
    FREEZING             CLOSE      WALLET_STATE
    FROZEN               CLOSE      CLOSING
    FROZEN updating      CLOSE      SETTLE
    UNFREEZING           CLOSE      WALLET_STATE
    CLOSING              CLOSE      CARRY
    CLOSING turned down  CLOSE      SETTLE
    CLOSED               CLOSE      DONE
"""


def table(text: str) -> list[list[str]]:
    """Columns are two or more spaces apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.strip().splitlines()]


@pytest.mark.parametrize(("before", "intent", "expected"), table(BEGINNINGS))
def test_what_a_call_begins(before: str, intent: str, expected: str) -> None:
    begun = lifecycle.begin(wallet(before), Intent[intent])
    match begun:
        case Wallet():
            assert begun.state.name == expected
            assert begun.revision == 7
        case Then():
            assert begun.name == expected
        case Failure():
            assert begun.reason.name == expected
            assert begun.metadata == {"wallet": "wallets/alice", "state": before.split(maxsplit=1)[0]}


@pytest.mark.parametrize("before", ["ACTIVE", "FROZEN"])
def test_a_close_remembers_the_way_back_and_is_named_by_the_revision_that_it_is_stored_with(before: str) -> None:
    begun = lifecycle.begin(wallet(before), Intent.CLOSE)
    assert isinstance(begun, Wallet)
    assert begun.attempt == Closing(revision=8, back_to=WalletState[before])


def test_a_freeze_leaves_changed_limits_under_way() -> None:
    begun = lifecycle.begin(wallet("ACTIVE updating"), Intent.FREEZE)
    assert isinstance(begun, Wallet)
    assert begun.attempt == Updating(6, NEW)


STEPS: list[tuple[str, Step | None, str]] = [
    # before                        the account is told                  and then the wallet is
    ("CREATING",                    OpenAccount(),                       "ACTIVE"),
    ("ACTIVE",                      None,                                ""),
    ("ACTIVE updating",             SetLimits(NEW.limits),               "ACTIVE"),
    ("ACTIVE updating turned down", SetLimits(OLD.limits),               "ACTIVE"),
    ("FREEZING",                    SetState(AccountState.FROZEN),       "FROZEN"),
    ("FREEZING updating",           SetState(AccountState.FROZEN),       "FROZEN updating"),
    ("FROZEN",                      None,                                ""),
    ("FROZEN updating",             SetLimits(NEW.limits),               "FROZEN"),
    ("UNFREEZING",                  SetState(AccountState.OPEN),         "ACTIVE"),
    ("CLOSING",                     SetState(AccountState.CLOSED),       "CLOSED"),
    ("CLOSING turned down",         SetState(AccountState.FROZEN),       "FROZEN"),
    ("CLOSED",                      None,                                ""),
]  # fmt: skip


@pytest.mark.parametrize(("before", "step", "after"), STEPS)
def test_what_the_account_is_told_and_what_follows(before: str, step: Step | None, after: str) -> None:
    assert lifecycle.next_step(wallet(before)) == step
    assert (step is None) == wallet(before).settled
    if step is not None:
        taken = lifecycle.taken(wallet(before))
        assert (taken.state, taken.attempt) == (wallet(after).state, wallet(after).attempt)


def test_limits_that_were_taken_bring_with_them_what_was_asked_for_together() -> None:
    taken = lifecycle.taken(wallet("ACTIVE updating"))
    assert (taken.particulars, taken.update_revision) == (NEW, 6)


def test_limits_that_were_turned_down_leave_everything_as_it_was() -> None:
    taken = lifecycle.taken(wallet("ACTIVE updating turned down"))
    assert (taken.particulars, taken.update_revision) == (OLD, None)


REFUSALS = """
    CLOSING                      WALLET_NOT_EMPTY     CLOSING turned down
    CLOSING                      PAYOUTS_UNDER_WAY    CLOSING turned down
    CLOSING                      WALLET_STATE         -
    CLOSING turned down          WALLET_STATE         CLOSED
    CLOSING turned down          WALLET_NOT_EMPTY     -
    ACTIVE updating              FLOOR_ABOVE_BALANCE  ACTIVE updating turned down
    FROZEN updating              UNKNOWN_TIME_ZONE    FROZEN updating turned down
    ACTIVE updating turned down  FLOOR_ABOVE_BALANCE  -
    ACTIVE updating              WALLET_STATE         -
    FREEZING updating            WALLET_STATE         -
    CREATING                     UNKNOWN_CURRENCY     -
    UNFREEZING                   ACCOUNT_NOT_FOUND    -
"""


@pytest.mark.parametrize(("before", "reason", "after"), table(REFUSALS))
def test_what_follows_from_a_refusal(before: str, reason: str, after: str) -> None:
    changed = lifecycle.refused(wallet(before), Failure(Reason[reason], {"x": "y"}))
    if after == "-":
        assert changed is None
    else:
        assert changed is not None
        assert (changed.state, changed.attempt) == (wallet(after).state, wallet(after).attempt)


@pytest.mark.parametrize(
    ("before", "reason"), [("CLOSING", Reason.WALLET_NOT_EMPTY), ("ACTIVE updating", Reason.FLOOR_ABOVE_BALANCE)]
)
def test_a_refused_attempt_is_remembered_by_its_revision(before: str, reason: Reason) -> None:
    failure = Failure(reason, {"wallet": "wallets/alice"})
    changed = lifecycle.refused(wallet(before), failure)
    assert changed is not None
    assert changed.turned_down == TurnedDown(6, failure)


NOT_EMPTY = TurnedDown(6, Failure(Reason.WALLET_NOT_EMPTY))
OUTCOMES = [
    # intent          state      its close  the last refusal  expected
    (Intent.FREEZE,   FROZEN,    None,      None,             None),
    (Intent.FREEZE,   UNFREEZING, None,     None,             Reason.WALLET_STATE),
    (Intent.UNFREEZE, ACTIVE,    None,      None,             None),
    (Intent.CLOSE,    CLOSED,    6,         None,             None),
    (Intent.CLOSE,    CLOSED,    6,         NOT_EMPTY,        None),
    (Intent.CLOSE,    ACTIVE,    6,         NOT_EMPTY,        Reason.WALLET_NOT_EMPTY),
    (Intent.CLOSE,    FREEZING,  6,         NOT_EMPTY,        Reason.WALLET_NOT_EMPTY),
    (Intent.CLOSE,    ACTIVE,    4,         NOT_EMPTY,        Reason.WALLET_STATE),
    (Intent.CLOSE,    ACTIVE,    6,         None,             Reason.WALLET_STATE),
    (Intent.FREEZE,   ACTIVE,    None,      NOT_EMPTY,        Reason.WALLET_STATE),
]  # fmt: skip


@pytest.mark.parametrize(("intent", "state", "closing", "turned_down", "expected"), OUTCOMES)
def test_what_the_caller_hears(
    intent: Intent,
    state: WalletState,
    closing: int | None,
    turned_down: TurnedDown | None,
    expected: Reason | None,
) -> None:
    heard = lifecycle.outcome(stored(state, turned_down=turned_down), intent, closing)
    assert (heard and heard.reason) is expected


IMPOSSIBLE = [
    stored(CREATING, attempt=Updating(6, NEW)),
    stored(CLOSING),
    stored(CLOSED, attempt=Updating(6, NEW)),
    stored(ACTIVE, attempt=Closing(6, ACTIVE)),
]


@pytest.mark.parametrize("impossible", IMPOSSIBLE, ids=lambda wallet: wallet.state.name)
def test_a_wallet_that_cannot_be_is_a_bug(impossible: Wallet) -> None:
    with pytest.raises(InvariantViolation):
        lifecycle.next_step(impossible)


@pytest.mark.parametrize("state", [ACTIVE, FROZEN, CLOSED])
def test_nothing_follows_where_nothing_was_to_be_done(state: WalletState) -> None:
    with pytest.raises(InvariantViolation):
        lifecycle.taken(stored(state))


@pytest.mark.parametrize("state", list(WalletState))
def test_passing_states_are_those_with_a_step_of_their_own(state: WalletState) -> None:
    assert (lifecycle.next_step(wallet(state.name)) is not None) == (state in PASSING)


def test_the_etag_changes_with_the_revision_and_the_wallet() -> None:
    one = stored(ACTIVE)
    assert len({one.etag, replace(one, revision=8).etag, replace(one, name="wallets/bob").etag}) == 3
    assert one.etag == replace(one, state=FROZEN).etag
