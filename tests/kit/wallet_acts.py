"""What must hold of a wallet's acts: one after the other they give the wallet."""

from collections.abc import Sequence

from service_kit.acts import Act, ActFilter, Acts
from wallet_service.domain.act import Word, told
from wallet_service.domain.wallet import Wallet


def assert_acts_give(wallet: Wallet, acts: Sequence[Act]) -> None:
    """The wallet has not changed without an act: it is what its acts say, from nothing on."""
    of_it = sorted((act for act in acts if act.subject == wallet.name), key=lambda act: act.number)
    assert [act.number for act in of_it] == list(range(1, wallet.revision + 1))
    shown: dict[str, str] = {}
    for act in of_it:
        assert act.act in set(Word)
        assert act.before.items() <= shown.items(), (act, shown)
        assert not (act.after.keys() - act.before.keys()) & shown.keys(), (act, shown)
        shown = {field: value for field, value in shown.items() if field not in act.before} | dict(act.after)
    assert shown == told(wallet)
    assert [act.create_time for act in (of_it[0], of_it[-1])] == [wallet.create_time, wallet.update_time]


async def read_acts(acts: Acts, page_size: int = 1000, **wanted: object) -> list[Act]:
    """All pages, the newest first."""
    found: list[Act] = []
    after = None
    while True:
        page, after = await acts.page(ActFilter(**wanted), after, page_size)  # type: ignore[arg-type] # as it spells it
        found += page
        if after is None:
            return found
