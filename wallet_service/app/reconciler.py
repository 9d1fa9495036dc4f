"""Finishes wallets that a crash, a lost answer or an outage left half done."""

import asyncio
from typing import Final

import structlog
from prometheus_client import Counter

from service_kit.status import Refusal
from wallet_service.app.carry import Carrier, settled
from wallet_service.domain.failure import Declined
from wallet_service.ports import Due, WalletStore

log = structlog.stdlib.get_logger()

ENDED: Final = Counter("specie_wallets_reconciled", "Unfinished wallets taken on, by how it ended", ["outcome"])
FINISHED, POSTPONED, STUCK = (ENDED.labels(outcome) for outcome in ("finished", "postponed", "stuck"))
"""A wallet that is stuck will not be finished without a person: alert on it."""

CLAIMED_MAX: Final = 100
"""How many wallets one round takes on."""

AT_ONCE_MAX: Final = 4
"""How many are carried at the same time: beside live calls, not instead of them."""

LEASE_SECONDS: Final = 10.0
"""How long the others leave a claimed wallet alone, at first. It need not be right: carrying it twice does no harm."""

WALLET_SECONDS_MAX: Final = 10.0
"""How long one wallet may take of a round."""


class Reconciler:
    """Runs in every worker; claims keep them from doing the same work."""

    def __init__(
        self, store: WalletStore, carrier: Carrier, every_seconds: float, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._every_seconds = every_seconds
        self._lease_seconds = lease_seconds

    async def run(self) -> None:
        """For ever. No failure ends it: the next round tries again."""
        while True:
            try:
                claimed = await self.round()
            except Refusal as refusal:
                log.warning("reconcile_round_failed", reason=refusal.reason)
                claimed = 0
            except Exception:
                # A bug must not end what repairs.
                log.exception("reconcile_round_failed")
                claimed = 0
            if claimed < CLAIMED_MAX:
                await asyncio.sleep(self._every_seconds)

    async def round(self) -> int:
        """Takes on the wallets that are due; how many they were."""
        due = await self._store.claim(CLAIMED_MAX, self._lease_seconds)
        places = asyncio.Semaphore(AT_ONCE_MAX)

        async def in_turn(one: Due) -> None:
            async with places:
                await self._finish(one)

        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(in_turn(one))
        return len(due)

    async def _finish(self, due: Due) -> None:
        """One wallet that cannot be finished is told to the log and stays due; the others are not held up by it."""
        known = {"wallet": due.wallet.name, "state": due.wallet.state.name, "attempts": due.attempts}
        try:
            async with asyncio.timeout(WALLET_SECONDS_MAX):
                wallet, _ = await self._carrier.carry(due.wallet, settled)
        except Refusal as refusal:
            POSTPONED.inc()
            log.warning("reconcile_postponed", reason=refusal.reason, **known)
        except Declined as declined:
            STUCK.inc()
            log.error("reconcile_stuck", reason=declined.failure.reason, **known)
        except TimeoutError:
            POSTPONED.inc()
            log.warning("reconcile_postponed", reason="DEADLINE_EXCEEDED", **known)
        except Exception:
            STUCK.inc()
            log.exception("reconcile_stuck", **known)
        else:
            FINISHED.inc()
            log.info("reconciled", became=wallet.state.name, **known)
