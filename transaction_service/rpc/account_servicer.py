"""AccountService: what wallet_service sets on accounts. Internal, never routed by the gateway."""

from collections.abc import Callable
from functools import partial
from typing import Any

from specie.transaction.v1 import (
    AccountServiceServicer,
    GetAccountsRequest,
    GetAccountsResponse,
    OpenAccountRequest,
    OpenAccountResponse,
    SetAccountLimitsRequest,
    SetAccountLimitsResponse,
    SetAccountStateRequest,
    SetAccountStateResponse,
)

from service_kit.status import Refusal
from transaction_service.domain.account import Account, AccountState, Change, same_identity, set_limits, set_state
from transaction_service.domain.failure import Failure, Reason
from transaction_service.ports import Accounts
from transaction_service.rpc.convert import account_message, to_account, to_limits
from transaction_service.rpc.errors import to_refusal


class AccountServicer(AccountServiceServicer):
    """Thin: converts, applies a rule of the domain under the row lock, converts back."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def OpenAccount(self, request: OpenAccountRequest, context: Any) -> OpenAccountResponse:
        wanted = to_account(request.account)
        account = await self._accounts.open(wanted)
        if not same_identity(account, wanted):
            raise to_refusal(Failure(Reason.ACCOUNT_ALREADY_EXISTS, {"account": account.name}))
        return OpenAccountResponse(account=account_message(account))

    async def GetAccounts(self, request: GetAccountsRequest, context: Any) -> GetAccountsResponse:
        accounts = await self._accounts.get(request.names)
        return GetAccountsResponse(accounts=map(account_message, accounts))

    async def SetAccountState(self, request: SetAccountStateRequest, context: Any) -> SetAccountStateResponse:
        rule = partial(set_state, state=AccountState(request.state), revision=request.revision)
        return SetAccountStateResponse(account=account_message(await self._change(request.name, rule)))

    async def SetAccountLimits(self, request: SetAccountLimitsRequest, context: Any) -> SetAccountLimitsResponse:
        rule = partial(set_limits, limits=to_limits(request.limits), revision=request.revision)
        return SetAccountLimitsResponse(account=account_message(await self._change(request.name, rule)))

    async def _change(self, name: str, rule: Callable[[Account], Change]) -> Account:
        changed = await self._accounts.change(name, rule)
        match changed:
            case None:
                raise Refusal("ACCOUNT_NOT_FOUND", f"there is no account {name}", {"account": name})
            case Failure():
                raise to_refusal(changed)
        return changed
