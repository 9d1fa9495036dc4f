"""A change of a wallet as the act that goes on record."""

from service_kit.acts import Act, Actor, differences
from wallet_service.domain.act import Word, told, word_of
from wallet_service.domain.wallet import Wallet


def act_of(before: Wallet | None, after: Wallet, by: Actor) -> Act:
    """`before`: None of a wallet that is new; `after`: as stored, which numbers and dates the act."""
    word = word_of(before, after)
    was, became = differences(told(before) if before is not None else {}, told(after))
    return Act(
        subject=after.name,
        number=after.revision,
        act=word.value,
        before=was,
        after=became,
        principal=by.principal,
        # Nothing but a creation is asked for with one.
        request_id=after.request_id or "" if word is Word.CREATE else "",
        trace_id=by.trace_id,
        create_time=after.update_time,
    )
