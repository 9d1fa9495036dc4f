"""The only place where the parts are put together."""

import asyncio

import grpc.aio
import uuid_utils.compat
from specie.wallet.v1 import add_WalletAuditServiceServicer_to_server, add_WalletServiceServicer_to_server

from service_kit.act_table import SqlActs
from service_kit.database import Database
from service_kit.server import Application
from service_kit.server import serve as serve_application
from service_kit.tls import channel_credentials
from wallet_service.adapters.account_gateway import GrpcAccountGateway, channel_to
from wallet_service.adapters.service_token import ServiceToken
from wallet_service.adapters.sql_store import SqlWalletStore
from wallet_service.adapters.tables import act
from wallet_service.app.carry import Carrier
from wallet_service.app.changes import Changes
from wallet_service.app.reading import Balances, Reading
from wallet_service.app.reconciler import Reconciler
from wallet_service.ports import AccountGateway, WalletStore
from wallet_service.rpc.audit_servicer import WalletAuditServicer
from wallet_service.rpc.servicer import WalletServicer
from wallet_service.settings import WalletSettings

SERVICE = "specie.wallet.v1.WalletService"
AUDIT_SERVICE = "specie.wallet.v1.WalletAuditService"


def servicer(store: WalletStore, accounts: AccountGateway) -> WalletServicer:
    """The calls over these ports."""
    balances = Balances(accounts)
    changes = Changes(store, Carrier(store, accounts), balances, uuid_utils.compat.uuid7)
    return WalletServicer(Reading(store, accounts, balances), changes)


def application(settings: WalletSettings) -> Application:
    """Called inside the event loop."""
    database = Database(settings, application_name="specie-wallet")
    channel = channel_to(settings.transaction_target, channel_credentials(settings))
    own_token = ServiceToken(settings.service_token_file)
    store, accounts = SqlWalletStore(database), GrpcAccountGateway(channel, own_token.header)
    calls, audit = servicer(store, accounts), WalletAuditServicer(SqlActs(database, act))
    reconciler = Reconciler(store, Carrier(store, accounts), settings.reconcile_seconds)

    def register(server: grpc.aio.Server) -> None:
        add_WalletServiceServicer_to_server(calls, server)

    def register_audit(server: grpc.aio.Server) -> None:
        add_WalletAuditServiceServicer_to_server(audit, server)

    async def close() -> None:
        await channel.close()
        # It waits for statements that are running, and the loop has the rest of the process to stop meanwhile.
        await asyncio.to_thread(database.close)

    return Application(
        servicers={SERVICE: register, AUDIT_SERVICE: register_audit},
        # Not the account service: were it down, every wallet server would be taken out at once, and callers would hear
        # of no upstream instead of UNAVAILABLE with its reason, while freezes could not even be written down.
        check=store.ping,
        background=(reconciler.run,),
        close=close,
    )


async def serve(settings: WalletSettings) -> None:
    """Returns after a clean stop."""
    await serve_application(application(settings), settings)
