"""Messages of the contract to values of the domain, and back."""

import re
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from specie.type.v1 import Balance as BalanceMessage
from specie.type.v1 import Limits as LimitsMessage
from specie.type.v1 import Money
from specie.wallet.v1 import CreateWalletRequest, UpdateWalletRequest
from specie.wallet.v1 import Wallet as WalletMessage
from specie.wallet.v1 import WalletKind as KindMessage
from specie.wallet.v1 import WalletState as StateMessage

from service_kit import pages
from service_kit.caller import Caller
from service_kit.status import invalid
from wallet_service.app.changes import Creation
from wallet_service.app.reading import WalletWithBalance
from wallet_service.domain.wallet import NAME_PREFIX, Balance, Limits, Particulars, WalletKind, WalletState

NAME: Final = re.compile(re.escape(NAME_PREFIX) + "[a-z0-9-]{1,63}")


def creation(request: CreateWalletRequest, caller: Caller) -> Creation:
    """The name in the wallet may be left out, but not be another one."""
    asked = request.wallet
    if asked.name and asked.name != NAME_PREFIX + request.wallet_id:
        text = "the wallet's name is given by wallet_id; leave it out or make it the same"
        raise invalid("wallet.name", "wallet.name.wallet_id", text)
    return Creation(
        wallet_id=request.wallet_id,
        owner=asked.owner,
        currency_code=asked.currency_code,
        kind=WalletKind(asked.kind or KindMessage.WALLET_KIND_USER),
        particulars=particulars(asked),
        principal=caller.subject,
        request_id=request.request_id,
        bound_to=caller.bound_to,
    )


def particulars(message: WalletMessage) -> Particulars:
    limits = message.limits
    return Particulars(
        message.display_name,
        dict(message.labels),
        Limits(
            max_minor_units_per_transaction=limits.max_minor_units_per_transaction,
            max_minor_units_per_day=limits.max_minor_units_per_day,
            max_debits_per_hour=limits.max_debits_per_hour,
            time_zone=limits.time_zone,
            credit_minor_units=limits.credit_minor_units,
        ),
    )


def etag(request: UpdateWalletRequest) -> str:
    """It may stand in two places, but not be two."""
    if request.etag and request.wallet.etag and request.etag != request.wallet.etag:
        raise invalid("etag", "etag.ambiguous", "etag and wallet.etag differ; send one of them")
    return request.etag or request.wallet.etag


def state_filter(state: StateMessage.ValueType) -> WalletState | None:
    return WalletState(state) if state else None


def position(decoded: list[Any]) -> str:
    """The name after which a page begins. A page token is no secret, so its inside may have been made up."""
    match decoded:
        case [str(name)] if NAME.fullmatch(name):
            return name
        case _:
            raise pages.refused()


def message(shown: WalletWithBalance) -> WalletMessage:
    wallet, balance = shown
    limits = wallet.particulars.limits
    return WalletMessage(
        name=wallet.name,
        owner=wallet.owner,
        display_name=wallet.particulars.display_name,
        currency_code=wallet.currency_code,
        kind=KindMessage.ValueType(int(wallet.kind)),
        state=StateMessage.ValueType(int(wallet.state)),
        labels=wallet.particulars.labels,
        limits=LimitsMessage(
            max_minor_units_per_transaction=limits.max_minor_units_per_transaction,
            max_minor_units_per_day=limits.max_minor_units_per_day,
            max_debits_per_hour=limits.max_debits_per_hour,
            time_zone=limits.time_zone,
            credit_minor_units=limits.credit_minor_units,
        ),
        balance=None if balance is None else _balance(balance),
        create_time=_timestamp(wallet.create_time),
        update_time=_timestamp(wallet.update_time),
        etag=wallet.etag,
    )


def as_many_as_fit(wallets: list[WalletMessage], end: str) -> tuple[list[WalletMessage], str]:
    """A page may have less than was asked for (AIP-158): those that fit into a message that every client takes, and
    the name after which the next page begins."""
    size = 0
    for number, wallet in enumerate(wallets):
        size += wallet.ByteSize()
        if number > 0 and size > pages.PAGE_BYTES_MAX:
            return wallets[:number], wallets[number - 1].name
    return wallets, end


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _balance(balance: Balance) -> BalanceMessage:
    def money(minor_units: int) -> Money:
        return Money(currency_code=balance.currency_code, minor_units=minor_units)

    return BalanceMessage(
        posted=money(balance.posted),
        held=money(balance.held),
        available=money(balance.available),
        version=balance.version,
    )
