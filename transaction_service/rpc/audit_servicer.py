"""AuditService, whole: each group of its calls is a class of its own."""

from specie.transaction.v1 import AuditServiceServicer

from service_kit.acts import Acts
from transaction_service.integrity import LatestSums
from transaction_service.integrity.ports import Soundness
from transaction_service.ports import Accounts, AuditRecords
from transaction_service.reports import Reports
from transaction_service.rpc.audit_chain_calls import AuditChainCalls
from transaction_service.rpc.audit_records import AuditRecordCalls
from transaction_service.rpc.integrity_calls import IntegrityCalls
from transaction_service.sealing.ports import Blocks


class AuditServicer(AuditRecordCalls, AuditChainCalls, IntegrityCalls, AuditServiceServicer):
    """It only reads. What it says is for auditors, whoever owns the wallets."""

    def __init__(
        self,
        records: AuditRecords,
        acts: Acts,
        blocks: Blocks,
        reports: Reports,
        accounts: Accounts,
        sums: LatestSums,
        soundness: Soundness,
    ) -> None:
        self._records = records
        self._acts = acts
        self._blocks = blocks
        self._reports = reports
        self._accounts = accounts
        self._sums = sums
        self._soundness = soundness
