"""TransactionService, whole: each group of its calls is a class of its own."""

from collections.abc import Collection

from specie.transaction.v1 import TransactionServiceServicer

from transaction_service.ports import Accounts, HoldReader, LedgerReader
from transaction_service.posting.pending import Pending
from transaction_service.reports import Reports
from transaction_service.rpc.holds import Holds
from transaction_service.rpc.moving import Moving
from transaction_service.rpc.poster import Poster
from transaction_service.rpc.reading import Reading
from transaction_service.rpc.reporting import Reporting
from transaction_service.rpc.watching import Watching
from transaction_service.tail import Tail


class TransactionServicer(Moving, Holds, Reading, Watching, Reporting, TransactionServiceServicer):
    """Thin: no rule about money stands here."""

    def __init__(
        self,
        poster: Poster,
        pending: Pending,
        reader: LedgerReader,
        holds: HoldReader,
        accounts: Accounts,
        tail: Tail,
        reports: Reports,
        payout_providers: Collection[str] = (),
    ) -> None:
        self._poster = poster
        self._pending = pending
        self._reader = reader
        self._holds = holds
        self._accounts = accounts
        self._tail = tail
        self._reports = reports
        self._payout_providers = payout_providers
