"""CheckIntegrity: what the check that always runs has found, and one wallet checked at once."""

from datetime import UTC, datetime
from typing import Any

from specie.transaction.v1 import CheckIntegrityRequest, CheckIntegrityResponse, IntegrityFinding

from service_kit.call import current_call
from service_kit.status import RETRY_AFTER_SECONDS, Refusal
from transaction_service.integrity import LatestSums
from transaction_service.integrity.findings import Broken, Finding, merged
from transaction_service.integrity.ports import Soundness
from transaction_service.ports import Accounts
from transaction_service.rpc.lookups import find_account
from transaction_service.rpc.soundness import state_of, told


class IntegrityCalls:
    """Needs what it names."""

    _sums: LatestSums
    _soundness: Soundness
    _accounts: Accounts

    async def CheckIntegrity(self, request: CheckIntegrityRequest, context: Any) -> CheckIntegrityResponse:
        found: list[Broken] = []
        if request.wallet:
            account = await find_account(self._accounts, request.wallet, owner="")  # an auditor sees all
            found = await self._soundness.of_account(account.name)
        try:
            sums = await self._sums.get(current_call().seconds_left())
        except TimeoutError as error:
            raise Refusal(
                "UNAVAILABLE", "the ledger's sums could not be read", retry_after_seconds=RETRY_AFTER_SECONDS
            ) from error
        checked = await self._soundness.checked()
        findings, _ = merged(checked.findings, found, datetime.now(UTC))
        response = CheckIntegrityResponse(
            state=state_of(sums.by_currency, checked.check_time, len(findings)),
            ledger_integrity_sum=told(sums.by_currency),
            findings=map(_finding_message, findings),
            checked_entry_count=checked.entries,
        )
        response.sum_time.FromDatetime(sums.time)
        if checked.check_time is not None:
            response.check_time.FromDatetime(checked.check_time)
        if checked.lap_time is not None:
            response.lap_time.FromDatetime(checked.lap_time)
            response.lap_duration.FromMilliseconds(round(checked.lap_seconds * 1000))
        return response


def _finding_message(finding: Finding) -> IntegrityFinding:
    check, subject, detail = finding.broken
    message = IntegrityFinding(check=check.value, subject=subject, detail=detail)
    message.find_time.FromDatetime(finding.find_time)
    return message
