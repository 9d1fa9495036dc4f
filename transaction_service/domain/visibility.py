"""What callers see and touch who are bound to wallets of their own.

A wallet of somebody else does not exist for them: they neither debit it nor read it. Whom they pay is not asked.
"""

from transaction_service.domain.account import Account, AccountKind
from transaction_service.domain.failure import Reason
from transaction_service.domain.movement import Transaction, TransactionKind, TransactionState


def is_foreign(account: Account, amount: int, kind: TransactionKind, bound_to: str) -> bool:
    """Whether a posting of this amount touches what is not this owner's (empty: anybody may).

    A deposit is the other way round than all else: what pays is the outside world, and it must come to a wallet of the
    caller's own. No other command takes anything from the outside world or from the house.
    """
    if not bound_to:
        return False
    if account.kind is AccountKind.SYSTEM:
        return amount < 0 and kind is not TransactionKind.DEPOSIT
    return account.owner != bound_to and (amount < 0 or kind is TransactionKind.DEPOSIT)


def shows(transaction: Transaction, wallet: str, principal: str) -> bool:
    """Whether the owner of this wallet, which the transaction names, sees it: what moved money, what he has asked for
    himself, and what was to come out of his wallet. Why another's attempt to pay him failed says what the other has,
    and so does a failure about a third one's wallet: a fee that cannot be given back. An attempt to debit him by who
    may not is none of his doing.
    """
    movement, failure = transaction.movement, transaction.failure
    if transaction.state is TransactionState.POSTED or movement.principal == principal:
        return True
    if movement.source != wallet or failure is None:
        return movement.source == wallet
    about = failure.metadata.get("wallet", wallet)
    return failure.reason is not Reason.SOURCE_NOT_FOUND and about in {wallet, movement.destination}
