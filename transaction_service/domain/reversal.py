"""Reversals: what a transaction moved goes back, whole or in parts that are never more than the original."""

from collections.abc import Sequence
from typing import Final

from transaction_service.domain.book import Book, Reversed
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.guards import net_of, not_its_own, obstacle
from transaction_service.domain.identity import own_id
from transaction_service.domain.movement import (
    WITHOUT_ENTRIES,
    Answer,
    Movement,
    Refused,
    Transaction,
    TransactionKind,
    TransactionState,
    movement,
    postings_of,
    received,
)
from transaction_service.domain.terms import PLAIN, Posting, Terms

PAIR: Final = 2
"""Postings from a source to a destination."""
PAYOUTS_PRINCIPAL: Final = "system/payouts"
"""Who gives back what a provider has refused to pay out. No caller can have this subject."""


def reversal_terms(original: Movement) -> Terms:
    """What a reversal must carry along: the postings of an original that has others than from its source to its
    destination, so that their accounts are locked and named."""
    postings = postings_of(original)
    if len(postings) == PAIR and original.kind is not TransactionKind.COMPOUND:
        return PLAIN
    return Terms(postings=tuple(Posting(name, -amount, currency) for name, amount, currency in postings))


def payout_reversal(original: Movement, number: int) -> Movement:
    """Gives a withdrawal with a payout back, all of it. Whoever asks for it, for one number it is one and the same
    command; the next number is a new attempt."""
    return movement(
        TransactionKind.REVERSAL,
        original.destination,
        original.source,
        0,
        original.currency,
        terms=reversal_terms(original),
        reverses=original.id,
        principal=PAYOUTS_PRINCIPAL,
        request_id=f"reverse payouts/{original.id} {number}",
        description="the payout was refused",
        own=own_id("payout-reversal", PAYOUTS_PRINCIPAL, f"{original.id} {number}"),
    )


def reverse(book: Book, movement: Movement, bound_to: str) -> Answer:
    """The amount, if it is 0, becomes all that is left. Limits do not bind: it is not the payer's own doing.
    `bound_to`: as for `guards.obstacle`."""
    original = book.find(movement.reverses)
    if original is None:
        return Refused(Failure(Reason.TRANSACTION_NOT_FOUND, {"transaction": f"transactions/{movement.reverses}"}))
    before = book.reversed.get(movement.reverses, Reversed())
    # 0 for a compound one, which can go back only once.
    left = received(original.movement) - before.amount
    given = _given(original, movement, left, before.amount)
    # Who may not give it back is not told what was given back already, so this is asked also where nothing is left.
    failure = not_its_own(book, given._replace(amount=given.amount or 1), bound_to) or _irreversible(original, movement)
    if failure is not None:
        return book.fail(movement, failure)
    # The fee is left when all else went back in parts.
    if before.whole or (before.times and not left and not movement.terms.postings):
        return book.fail(movement, Failure(Reason.ALREADY_REVERSED, _of(movement)))
    if movement.amount > left:
        told = {"remaining": str(left), "amount": str(movement.amount)}
        return book.fail(movement, Failure(Reason.REVERSAL_ABOVE_ORIGINAL, {**_of(movement), **told}))
    movement = given
    postings = postings_of(movement)
    failure = obstacle(book, movement, postings, net_of(postings), bound_to, limited=False)
    if failure is not None:
        return book.fail(movement, failure)
    # From here on the reversal must succeed.
    whole = bool(movement.terms.postings)
    book.reversed[movement.reverses] = Reversed(before.times + 1, before.amount + movement.amount, whole)
    return book.post(movement, reversed(postings))


def _given(original: Transaction, movement: Movement, left: int, gone_back: int) -> Movement:
    """What it gives back: the part that was asked for, or all that is left. A compound one has no parts."""
    if movement.amount and original.movement.kind is not TransactionKind.COMPOUND:
        return movement._replace(terms=PLAIN)
    terms = movement.terms._replace(postings=_without_parts(movement.terms.postings, gone_back))
    return movement._replace(amount=left, terms=terms if terms.postings else PLAIN)


def _irreversible(original: Transaction, movement: Movement) -> Failure | None:
    """What speaks against it whatever was given back already."""
    kind, state = original.movement.kind, original.state
    if kind is TransactionKind.REVERSAL or kind in WITHOUT_ENTRIES:
        return Failure(Reason.NOT_REVERSIBLE, {**_of(movement), "kind": kind.name})
    if original.movement.terms.payout is not None and movement.principal != PAYOUTS_PRINCIPAL:
        # It may have been paid: to give it back as well would be to pay twice.
        told = {"kind": kind.name, "payout": f"payouts/{movement.reverses}"}
        return Failure(Reason.NOT_REVERSIBLE, {**_of(movement), **told})
    if state is not TransactionState.POSTED:
        return Failure(Reason.TRANSACTION_NOT_POSTED, {**_of(movement), "state": state.name})
    if movement.amount and kind is TransactionKind.COMPOUND:
        return Failure(Reason.NOT_DIVISIBLE, _of(movement))
    if movement.amount and movement.currency != original.movement.currency:
        told = {"wallet": original.movement.destination, "wallet_currency": original.movement.currency}
        return Failure(Reason.CURRENCY_MISMATCH, {**told, "currency": movement.currency})
    return None


def _without_parts(back: Sequence[Posting], gone_back: int) -> tuple[Posting, ...]:
    """The source, which paid, has had these parts back from the destination already."""
    if not gone_back or not back:
        return tuple(back)
    source, destination, *others = back
    rest = (
        source._replace(amount=source.amount - gone_back),
        destination._replace(amount=destination.amount + gone_back),
        *others,
    )
    return tuple(posting for posting in rest if posting.amount)


def _of(movement: Movement) -> dict[str, str]:
    return {"reverses": f"transactions/{movement.reverses}"}
