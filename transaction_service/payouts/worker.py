"""Pays what is to be paid out: several at once, each once.

Any number of workers may run. A claim keeps them from doing the same; that nothing is paid or given back twice does not
rest on it: a payment has one key at its provider, a reversal one id in the ledger, and each change of a payout holds
only in the states that it may come from. See docs/adr/0032.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

import structlog

from service_kit.status import Refusal
from transaction_service.domain.failure import InvariantViolation
from transaction_service.domain.movement import Outcome
from transaction_service.domain.reversal import payout_reversal
from transaction_service.payouts import metrics
from transaction_service.payouts.pauses import Patience, pause_seconds
from transaction_service.payouts.payout import NOT_GIVEN_BACK, Payout, PayoutState
from transaction_service.payouts.ports import (
    Ledger,
    LedgerBusy,
    Payment,
    PaymentState,
    PayoutStore,
    Provider,
    ProviderUnavailable,
)

log = structlog.stdlib.get_logger()

AT_ONCE_MAX: Final = 16
"""Calls that wait for one provider: none that hangs holds up what others are to pay."""
REST_SECONDS: Final = 0.2
"""How often it looks for what is due."""
FAILED_SECONDS: Final = 2.0
"""The pause after it could not look."""
LEASE_SLACK_SECONDS: Final = 5.0
"""What a lease has beyond two calls of the provider: for the database and the ledger. After the lease another worker
takes on what this one has claimed, because it was killed. It need not be right."""
COUNT_SECONDS: Final = 2.0
COUNTED_MAX: Final = 10_000
"""How often the metrics are brought up to date, and how far they count."""
FINISH_SECONDS: Final = 5.0
"""How long a stop waits for calls that are under way. What is cut off is taken on when its lease is over."""
ERROR_LENGTH_MAX: Final = 500
REFERENCE_LENGTH_MAX: Final = 128
"""As the contract has it."""


class PayoutWorker:
    """Of the event loop's thread only."""

    def __init__(
        self, store: PayoutStore, providers: Mapping[str, Provider], ledger: Ledger, patience: Patience
    ) -> None:
        self._store = store
        self._providers = providers
        self._ledger = ledger
        self._patience = patience
        self._lease_seconds = 2 * patience.timeout_seconds + LEASE_SLACK_SECONDS
        self._under_way: dict[asyncio.Task[None], str] = {}
        """By whose payout it is."""
        self._count_at = monotonic()

    async def run(self) -> None:
        """For ever. No failure ends it. When it is cancelled it lets what is under way end, for a while."""
        while True:
            round_ = asyncio.create_task(self._round())
            try:
                rest = await asyncio.shield(round_)
                await asyncio.sleep(rest)
            except asyncio.CancelledError:
                await self._finish(round_)
                raise

    async def _finish(self, round_: asyncio.Task[float]) -> None:
        await round_
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _round(self) -> float:
        """Takes on what is due, as far as there is room; how many seconds there is nothing else to do."""
        try:
            await self._count()
            claimed = await self._store.claim(AT_ONCE_MAX, self._lease_seconds, Counter(self._under_way.values()))
        except Exception as error:  # noqa: BLE001 - a bug must not end what everybody relies on
            log.warning("payouts_not_claimed", error=repr(error))
            return FAILED_SECONDS
        for payout in claimed:
            task = asyncio.create_task(self.settle(payout))
            self._under_way[task] = payout.provider
            task.add_done_callback(self._under_way.pop)
        if AT_ONCE_MAX in Counter(self._under_way.values()).values():
            await asyncio.wait(self._under_way, timeout=REST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return 0.0
        return REST_SECONDS

    async def settle(self, payout: Payout) -> None:
        """Takes a payout that it has claimed as far as it goes. Never raises: what is not put down now is asked again
        when the lease is over."""
        try:
            match payout.state:
                case PayoutState.PENDING:
                    await self._pay(payout)
                case PayoutState.REFUSED:
                    await self._give_back(payout)
                case _:
                    raise InvariantViolation(f"{payout.name} is {payout.state.name} and there is nothing to do")
        except Refusal as refusal:
            log.warning("payout_interrupted", payout=payout.name, reason=refusal.reason)
        except Exception:
            log.exception("payout_failed", payout=payout.name)

    async def _pay(self, payout: Payout) -> None:
        try:
            payment = await self._ask(payout)
        except ProviderUnavailable as error:
            metrics.CALLS.labels(payout.provider, error.code.lower()).inc()
            await self._try_again(payout, error)
            return
        metrics.CALLS.labels(payout.provider, payment.state.name.lower()).inc()
        reference = _for_people(payment.reference, REFERENCE_LENGTH_MAX)
        match payment.state:
            case PaymentState.PAID:
                if await self._store.paid(payout, reference):
                    log.info("payout_paid", **_facts(payout))
                else:
                    await self._compare(payout, payment.state)
            case PaymentState.REFUSED:
                refusal = _for_people(payment.refusal, ERROR_LENGTH_MAX) or "refused"
                refused = await self._store.refused(payout, reference, refusal)
                if refused is None:
                    await self._compare(payout, payment.state)
                else:
                    log.info("payout_refused", **_facts(payout))
                    await self._give_back(refused)
            case PaymentState.PENDING:
                await self._store.taken(payout, reference, pause_seconds(self._patience, payout.attempts))

    async def _ask(self, payout: Payout) -> Payment:
        """What became of the payment. Raises ProviderUnavailable."""
        provider = self._providers.get(payout.provider)
        if provider is None:
            raise ProviderUnavailable("NOT_SET_UP", f"no payout provider {payout.provider} is set up")
        try:
            if payout.taken:
                async with asyncio.timeout(self._patience.timeout_seconds):
                    payment = await provider.get(payout.id)
                if payment is not None:
                    return payment
            async with asyncio.timeout(self._patience.timeout_seconds):
                return await provider.pay(payout)
        except ProviderUnavailable:
            raise
        except TimeoutError:
            raise ProviderUnavailable("DEADLINE_EXCEEDED", "the provider did not answer in time") from None
        except Exception as error:
            log.exception("payout_failed", payout=payout.name)
            raise ProviderUnavailable(
                "INTERNAL", f"the provider could not be called: {type(error).__name__}"
            ) from error

    async def _try_again(self, payout: Payout, error: ProviderUnavailable) -> None:
        text = _for_people(str(error), ERROR_LENGTH_MAX)
        if payout.failures >= self._patience.attempts_max:
            if await self._store.dead(payout, text):
                log.error("payout_dead", **_facts(payout), error=error.code)
            return
        pause = pause_seconds(self._patience, payout.failures)
        if await self._store.postponed(payout, text, pause):
            log.warning("payout_postponed", **_facts(payout), error=error.code, seconds=round(pause, 3))

    async def _compare(self, payout: Payout, told: PaymentState) -> None:
        """Another worker has put an answer down before. A provider that gives both has broken its word: a person must
        look at it, and nothing is done."""
        state = await self._store.state(payout.id)
        if (told is PaymentState.PAID) is not (state is PayoutState.PAID):
            log.error("payout_contradicted", **_facts(payout), state=state.name, told=told.name)

    async def _give_back(self, payout: Payout) -> None:
        """Posts the reversal. Whoever posts it, and how often, it is one until the ledger has refused it."""
        original = await self._ledger.find(payout.id)
        if original is None:
            raise InvariantViolation(f"{payout.name} has no withdrawal")
        reversal = payout_reversal(original.movement, payout.reversal_attempts)
        try:
            answer = await self._ledger.post(reversal)
        except LedgerBusy as busy:
            # However long it takes: to give up would leave the money nowhere.
            pause = pause_seconds(self._patience, payout.failures)
            if await self._store.postponed(payout, payout.last_error, pause):
                log.warning("payout_postponed", **_facts(payout), error=str(busy), seconds=round(pause, 3))
            return
        if not isinstance(answer, Outcome):
            raise InvariantViolation(f"{payout.name}: its reversal is no request: {answer.failure}")
        failure = answer.transaction.failure
        if failure is None:
            if await self._store.reversed(payout, reversal.id):
                log.info("payout_reversed", **_facts(payout))
            return
        about = ", ".join(f"{key} {value}" for key, value in failure.metadata.items())
        why = f"{payout.refusal}{NOT_GIVEN_BACK}{failure.reason} ({about})"
        if await self._store.irreversible(payout, _for_people(why, 2 * ERROR_LENGTH_MAX)):
            log.error("payout_dead", **_facts(payout), error=failure.reason)

    async def _count(self) -> None:
        if monotonic() < self._count_at:
            return
        backlog = await self._store.backlog(COUNTED_MAX)
        self._count_at = monotonic() + COUNT_SECONDS
        for state in ("pending", "refused", "dead"):
            metrics.PAYOUTS.labels(state).set(getattr(backlog, state))
        metrics.OVERDUE_SECONDS.set(backlog.overdue_seconds)


def _facts(payout: Payout) -> dict[str, Any]:
    """For the log: where the money goes is nobody's business who reads that."""
    return {"payout": payout.name, "provider": payout.provider, "attempts": payout.attempts}


def _for_people(text: str, length_max: int) -> str:
    """What comes from outside, as one line without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length_max])
