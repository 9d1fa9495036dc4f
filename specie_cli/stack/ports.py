"""Which TCP ports of 127.0.0.1 a local stack listens on."""

import socket
from dataclasses import dataclass

from specie_cli.stack.failure import StackError

HOST = "127.0.0.1"
DEFAULT_GATEWAY = 8080
LAST = 65535


@dataclass(frozen=True)
class Ports:
    gateway: int
    admin: int
    postgres: int
    wallet: tuple[int, ...]
    transaction: tuple[int, ...]
    back_office: int
    payout_simulator: int


@dataclass(frozen=True)
class Wish:
    """What the person asked for; None: derived."""

    gateway: int = DEFAULT_GATEWAY
    admin: int | None = None
    postgres: int | None = None
    wallet: int | None = None
    transaction: int | None = None
    back_office: int | None = None
    payout_simulator: int | None = None
    wallet_workers: int = 1
    transaction_workers: int = 1


# The first port of each part, and how far it is from the gateway's where the gateway's is not the default.
WELL_KNOWN = {
    "admin": 9901,
    "postgres": 54320,
    "back-office": 50081,
    "payout-simulator": 50091,
    "wallet": 50051,
    "transaction": 50061,
}
DISTANCE = {"admin": 1, "postgres": 2, "back-office": 3, "payout-simulator": 4, "wallet": 10, "transaction": 30}


def chosen(wish: Wish) -> Ports:
    """The ports of a stack, all free just now.

    On the default port of the gateway the others have their well-known ones. On any other port they follow it: admin
    PORT+1, PostgreSQL PORT+2, back office PORT+3, payout simulator PORT+4, wallet from PORT+10, transaction from
    PORT+30; or the next that are free.
    """
    taken = {wish.gateway}
    _demand(wish.gateway, "gateway", "--port")
    runs = {
        "admin": (wish.admin, 1),
        "postgres": (wish.postgres, 1),
        "back-office": (wish.back_office, 1),
        "payout-simulator": (wish.payout_simulator, 1),
        "wallet": (wish.wallet, wish.wallet_workers),
        "transaction": (wish.transaction, wish.transaction_workers),
    }
    result: dict[str, tuple[int, ...]] = {}
    for part, (asked, count) in runs.items():
        if asked is None and wish.gateway != DEFAULT_GATEWAY:
            first = _next_free(wish.gateway + DISTANCE[part], count, taken)
        else:
            first = WELL_KNOWN[part] if asked is None else asked
        result[part] = tuple(range(first, first + count))
        for port in result[part]:
            if port in taken:
                raise StackError(f"Port {port} would be used twice; give --{part}-port another one.")
            _demand(port, part, f"--{part}-port")
        taken.update(result[part])
    return Ports(
        gateway=wish.gateway,
        admin=result["admin"][0],
        postgres=result["postgres"][0],
        wallet=result["wallet"],
        transaction=result["transaction"],
        back_office=result["back-office"][0],
        payout_simulator=result["payout-simulator"][0],
    )


def _next_free(first: int, count: int, taken: set[int]) -> int:
    while first + count - 1 <= LAST:
        run = range(first, first + count)
        if all(port not in taken and _is_free(port) for port in run):
            return first
        first += 1
    raise StackError("No free ports are left above the gateway's; give --port a lower one.")


def _demand(port: int, part: str, option: str) -> None:
    if not 0 < port <= LAST:
        raise StackError(f"Port {port} for {part} is not between 1 and {LAST}; give another one with {option}.")
    if not _is_free(port):
        others = "the others follow it" if option == "--port" else "or --port, for all of them"
        raise StackError(
            f"Port {port} on {HOST}, for {part}, is taken by another program. Stop it, or give `specie up` another with"
            f" {option}; {others}."
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that connections of a server that has just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
