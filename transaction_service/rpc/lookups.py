"""What a call names, read or refused as not found: for who is bound, whatever is not his."""

from service_kit.call import bound_to
from service_kit.status import Refusal
from transaction_service.domain.account import Account
from transaction_service.domain.failure import Failure, Reason
from transaction_service.domain.hold import Hold
from transaction_service.domain.movement import Transaction
from transaction_service.ports import Accounts, HoldReader, LedgerReader
from transaction_service.rpc.errors import to_refusal


async def find_account(accounts: Accounts, wallet: str, owner: str | None = None) -> Account:
    """`wallets/{id}`, of this owner (None: whom the caller is bound to; empty: anybody's). Raises Refusal
    WALLET_NOT_FOUND."""
    for account in await accounts.get([wallet], bound_to() if owner is None else owner):
        return account
    raise Refusal("WALLET_NOT_FOUND", f"there is no {wallet}", {"wallet": wallet})


async def check_wallet(accounts: Accounts, wallet: str, field: str = "wallet") -> None:
    """Of who is bound: that what he lists or follows is about a wallet of his own. Raises Refusal PERMISSION_DENIED
    when he names none, WALLET_NOT_FOUND."""
    if not bound_to():
        return
    if not wallet:
        text = f"{field}: name a wallet; only a trusted caller, with the scope admin or service, asks for all of them"
        raise Refusal("PERMISSION_DENIED", text, {"field": field})
    await find_account(accounts, wallet)


async def find_transaction(reader: LedgerReader, name: str) -> Transaction:
    """`transactions/{uuid}`. Raises Refusal TRANSACTION_NOT_FOUND."""
    transaction = await reader.transaction(name.removeprefix("transactions/"), bound_to())
    if transaction is None:
        raise to_refusal(Failure(Reason.TRANSACTION_NOT_FOUND, {"transaction": name}))
    return transaction


async def find_hold(reader: HoldReader, name: str) -> Hold:
    """`holds/{uuid}`. Raises Refusal HOLD_NOT_FOUND."""
    hold = await reader.hold(name.removeprefix("holds/"), bound_to())
    if hold is None:
        raise to_refusal(Failure(Reason.HOLD_NOT_FOUND, {"hold": name}))
    return hold
