"""`python -m payout_simulator`: a bank that pays out, and whose faults can be switched on while it runs.

It is ready when it says so on its standard output, and by grpc.health.v1 on its port.
"""

import argparse
import asyncio
import random
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from specie.payout.v1 import add_PayoutProviderServicer_to_server

from payout_simulator.bank import Bank
from payout_simulator.faults import Faults, FaultsFile, WrongFaultsError
from payout_simulator.servicer import PayoutProvider

NAME: Final = "specie.payout.v1.PayoutProvider"
SETTLE_EVERY_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 1.0
"""How long calls that are under way may take to end."""
FAILED: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after SIGTERM or SIGINT, 1 when it cannot start or go on, 2 for wrong options."""
    options = _options(arguments)
    try:
        file = FaultsFile(options.faults, _complain)
        bank = Bank(options.data_dir)
    except (OSError, sqlite3.Error, WrongFaultsError) as error:
        _complain(str(error))
        return FAILED
    try:
        asyncio.run(_serve(bank, Faults(file, random.Random(options.seed), _tell), options))  # noqa: S311 - no secret
    except (OSError, RuntimeError, sqlite3.Error) as error:
        _complain(str(error))
        return FAILED
    finally:
        bank.close()
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m payout_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=50091, help="the port to listen on (%(default)s); 0: any that is free"
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of the bank's book")
    parser.add_argument("--faults", type=Path, help="a JSON file with the faults, read again when it changes")
    parser.add_argument("--seed", type=int, help="of the faults' chance, so that a run can be repeated")
    parser.add_argument("--tls-certificate", type=Path, help="the certificate, for mutual TLS")
    parser.add_argument("--tls-key", type=Path, help="the certificate's key")
    parser.add_argument("--tls-ca", type=Path, help="the authority of the callers' certificates")
    options = parser.parse_args(arguments)
    tls = (options.tls_certificate, options.tls_key, options.tls_ca)
    if any(tls) and not all(tls):
        parser.error("give all three of --tls-certificate, --tls-key and --tls-ca, or none")
    return options


async def _serve(bank: Bank, faults: Faults, options: argparse.Namespace) -> None:
    """Returns after a clean stop. Raises OSError for a file that cannot be read, RuntimeError for a port that is taken,
    sqlite3.Error when the disk fails."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))  # else a second one would share the port
    add_PayoutProviderServicer_to_server(PayoutProvider(bank, faults), server)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    for name in ("", NAME):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    address = f"{options.host}:{options.port}"
    credentials = _credentials(options)
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    print(f"ready: pays out at {options.host}:{port}", flush=True)
    settling = asyncio.create_task(_settle(bank))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait((settling, told), return_when=asyncio.FIRST_COMPLETED)
    await server.stop(GRACE_SECONDS)
    for task in (settling, told):
        task.cancel()
    with suppress(asyncio.CancelledError):
        await settling  # raises what it died of


async def _settle(bank: Bank) -> None:
    """For ever: what is due settles."""
    while True:
        await asyncio.to_thread(bank.settle)
        await asyncio.sleep(SETTLE_EVERY_SECONDS)


def _credentials(options: argparse.Namespace) -> grpc.ServerCredentials | None:
    """None: plain. Nobody without a certificate of the authority gets a word in."""
    if options.tls_ca is None:
        return None
    pair = (options.tls_key.read_bytes(), options.tls_certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], options.tls_ca.read_bytes(), require_client_auth=True)


def _tell(fault: str, key: str) -> None:
    print(f"fault: {fault} {key}", flush=True)


def _complain(text: str) -> None:
    print(f"payout_simulator: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
