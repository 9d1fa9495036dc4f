"""The set-based floor: a group of transfers in one SQL transaction, as fast as one Python process can drive it.

Two round trips a group: the accounts' rows, locked in the order of their ids; then 1 transaction and 2 entries with
running balance for each transfer, the accounts' new balances, and COMMIT. No service, no network protocol, no request,
no idempotency and no validation is in it: what a ledger in Python that posts in groups cannot exceed on a connection.

Two shapes. `narrow`: the tables of bench.floor, with as few columns as can be. `ledger`: copies of the ledger's own
tables, with all their columns, keys, checks and indexes.

python -m bench.floor_set postgresql://... --shape narrow --seconds 5
"""

import argparse
import os
import random
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a function's name

from bench.client import Stretch, tell
from bench.floor_shapes import SHAPES, Shape
from bench.wallets import ACTIVE

GROUP: Final = 1000
ID_BYTES: Final = 16

LOCK: Final = "BEGIN; EXECUTE lock(%s)"
WRITE: Final = (
    "EXECUTE transactions(%s, %s, %s); EXECUTE entries(%s, %s, %s, %s, %s); EXECUTE accounts(%s, %s, %s); COMMIT"
)


def pairs(keys: Sequence[Any], group: int) -> list[tuple[Any, Any]]:
    """Random ones of two different accounts."""
    found = []
    for _ in range(group):
        first = int(random.random() * ACTIVE)  # noqa: S311 - load, not a secret
        second = first + 1 + int(random.random() * (ACTIVE - 1))  # noqa: S311 - as above
        found.append((keys[first], keys[second % ACTIVE]))
    return found


def ids(count: int) -> list[str]:
    """In ascending order, which the index likes."""
    drawn = os.urandom(ID_BYTES * count).hex()
    width = 2 * ID_BYTES
    return sorted(drawn[start : start + width] for start in range(0, width * count, width))


def post(connection: Connection, shape: Shape, transfers: Sequence[tuple[Any, Any]]) -> None:
    """One group, one commit."""
    touched = {account for pair in transfers for account in pair}
    with connection.cursor() as cursor:
        cursor.execute(LOCK, (array(touched),))
        locked = cursor.fetchall()
        balances = {account: balance for account, balance, _ in locked}
        versions = {account: version for account, _, version in locked}
        names = ids(len(transfers))
        accounts: list[Any] = []
        seqs: list[int] = []
        transactions: list[str] = []
        after: list[int] = []
        for name, (source, destination) in zip(names, transfers, strict=True):
            if balances[source] < 1:
                raise RuntimeError("the floor's accounts have run dry")
            balances[source] -= 1
            balances[destination] += 1
            versions[source] += 1
            versions[destination] += 1
            accounts += (source, destination)
            seqs += (versions[source], versions[destination])
            transactions += (name, name)
            after += (balances[source], balances[destination])
        cursor.execute(
            WRITE,
            (
                array(names),
                array(shape.named(source for source, _ in transfers)),
                array(shape.named(destination for _, destination in transfers)),
                array(accounts),
                array(seqs),
                array(transactions),
                array([-1, 1] * len(transfers)),
                array(after),
                array(balances),
                array(balances.values()),
                array(versions.values()),
            ),
        )


def array(items: Iterable[Any]) -> str:
    """A literal, of what needs no quotes."""
    return "{" + ",".join(map(str, items)) + "}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn")
    parser.add_argument("--shape", choices=SHAPES, default="narrow")
    parser.add_argument("--group", type=int, default=GROUP)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    connection = psycopg2.connect(options.dsn)
    connection.autocommit = True  # BEGIN and COMMIT stand in the statements, to save round trips
    with connection.cursor() as cursor:
        cursor.execute(shape.prepare)
    stretch = Stretch()
    begun = stretch.started
    while True:
        post(connection, shape, pairs(shape.keys, options.group))
        stretch.add(options.group, begun)
        begun = time.perf_counter()
        if begun >= stretch.started + options.seconds:
            break
    tell(stretch.finding())
    connection.close()


if __name__ == "__main__":
    main()
