"""A client process that loads a stack. Prints one JSON object: bench.client.Finding.

python -m bench.load 127.0.0.1:50061 --kind transfer --in-flight 256 --seconds 5
"""

import argparse
import os
import uuid
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final

import aiohttp
import grpc.aio
import orjson
from specie.transaction.v1 import (
    BatchTransferRequest,
    DepositRequest,
    GetBalanceRequest,
    TransactionServiceStub,
    TransferRequest,
)

from bench.client import Call, Finding, closed_loop, open_loop, run
from bench.wallets import ACTIVE, ONE, Wallets

DEADLINE_SECONDS = 30
BATCH = 1000
MESSAGE_BYTES_MAX = 16 * 2**20
TOKEN_VARIABLE: Final = "SPECIE_TOKEN"  # noqa: S105 - the name of it
METADATA: Final = (("authorization", f"Bearer {os.environ.get(TOKEN_VARIABLE, '')}"),)

RequestIds = Callable[[], str]


def request_ids() -> RequestIds:
    """Keys never repeat, within a run or between two."""
    prefix, numbers = uuid.uuid4().hex, count()
    return lambda: f"{prefix}-{next(numbers)}"


def request(wallets: Wallets, new_id: RequestIds) -> TransferRequest:
    source, destination = wallets.pair()
    return TransferRequest(source=source, destination=destination, amount=ONE, request_id=new_id())


async def transfer(stub: Any, wallets: Wallets, new_id: RequestIds) -> int:  # noqa: ANN401 - stubs for asyncio have no type
    await stub.Transfer(request(wallets, new_id), timeout=DEADLINE_SECONDS, metadata=METADATA)
    return 1


async def batch(stub: Any, wallets: Wallets, new_id: RequestIds) -> int:  # noqa: ANN401 - as above
    asked = BatchTransferRequest(transfers=[request(wallets, new_id) for _ in range(BATCH)])
    answer = await stub.BatchTransfer(asked, timeout=DEADLINE_SECONDS, metadata=METADATA)
    for result in answer.results:
        if not result.HasField("transaction"):
            raise RuntimeError(f"a transfer of a batch failed: {result.error.message}")
    return len(answer.results)


async def hot(stub: Any, wallets: Wallets, new_id: RequestIds) -> int:  # noqa: ANN401 - as above
    """Every deposit debits system/cash-usd."""
    asked = DepositRequest(wallet=wallets.one(), amount=ONE, request_id=new_id())
    await stub.Deposit(asked, timeout=DEADLINE_SECONDS, metadata=METADATA)
    return 1


async def balance(stub: Any, wallets: Wallets, _: RequestIds) -> int:  # noqa: ANN401 - as above
    asked = GetBalanceRequest(wallet=wallets.one())
    await stub.GetBalance(asked, timeout=DEADLINE_SECONDS, metadata=METADATA)
    return 1


GRPC: Final = {"transfer": transfer, "batch": batch, "hot": hot, "balance": balance}


async def post_json(session: aiohttp.ClientSession, url: str, wallets: Wallets, new_id: RequestIds) -> int:
    source, destination = wallets.pair()
    amount = {"currencyCode": "USD", "minorUnits": "1"}
    body = {"source": source, "destination": destination, "amount": amount, "requestId": new_id()}
    async with session.post(url, data=orjson.dumps(body)) as answer:
        content = await answer.read()
        if answer.status != 200:  # noqa: PLR2004 - HTTP's word for it
            raise RuntimeError(f"{answer.status}: {content.decode()}")
    return 1


async def looped(call: Call, options: argparse.Namespace) -> Finding:
    if options.rate:
        return await open_loop(call, options.rate, options.seconds)
    return await closed_loop(call, options.in_flight, options.seconds)


async def over_grpc(options: argparse.Namespace, wallets: Wallets) -> Finding:
    limit = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),)
    async with grpc.aio.insecure_channel(options.target, options=limit) as channel:
        await channel.channel_ready()
        call = partial(GRPC[options.kind], TransactionServiceStub(channel), wallets, request_ids())
        return await looped(call, options)


async def over_json(options: argparse.Namespace, wallets: Wallets) -> Finding:
    """`target` is the gateway's URL. A connection for each call in flight, kept."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=options.in_flight),
        headers={"content-type": "application/json", **dict(METADATA)},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS),
    ) as session:
        call = partial(post_json, session, f"{options.target}/v1/transfers", wallets, request_ids())
        return await looped(call, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="HOST:PORT of a service, or the gateway's URL for --kind json")
    parser.add_argument("--kind", choices=(*GRPC, "json"), default="transfer")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--rate", type=int, default=0, help="calls a second, whatever is in flight")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--active", type=int, default=ACTIVE, help="how many wallets take part")
    parser.add_argument("--stride", type=int, default=1, help="they are every so many-th")
    options = parser.parse_args()
    wallets = Wallets(options.active, options.stride)
    run((over_json if options.kind == "json" else over_grpc)(options, wallets))


if __name__ == "__main__":
    main()
