"""Calls of WalletService as tests make them."""

from typing import Any
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask
from specie.wallet.v1 import (
    CreateWalletRequest,
    GetWalletRequest,
    UpdateWalletRequest,
    Wallet,
    WalletState,
)

from tests.kit.wallets import Service

ACTIVE = WalletState.WALLET_STATE_ACTIVE
FROZEN = WalletState.WALLET_STATE_FROZEN
CLOSED = WalletState.WALLET_STATE_CLOSED


def fresh_id() -> str:
    return f"w-{uuid4()}"


async def create(service: Service, wallet_id: str = "", **fields: Any) -> Wallet:  # noqa: ANN401 - a wallet's fields
    asked = Wallet(**({"currency_code": "USD"} | fields))
    response = await service.stub.CreateWallet(CreateWalletRequest(wallet_id=wallet_id or fresh_id(), wallet=asked))
    wallet: Wallet = response.wallet
    return wallet


async def get(service: Service, name: str) -> Wallet:
    wallet: Wallet = (await service.stub.GetWallet(GetWalletRequest(name=name))).wallet
    return wallet


async def update(service: Service, wallet: Wallet, *paths: str, etag: str = "") -> Wallet:
    mask = FieldMask(paths=paths) if paths else None
    request = UpdateWalletRequest(wallet=wallet, update_mask=mask, etag=etag)
    updated: Wallet = (await service.stub.UpdateWallet(request)).wallet
    return updated
