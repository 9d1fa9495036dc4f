"""The one-by-one floor: what PostgreSQL does with one SQL transaction per transfer, driven by its own pgbench.

A transfer is 2 SELECT FOR UPDATE, 2 UPDATE and 3 INSERT on tables narrower than the ledger's, with no service and no
network protocol in it: what a ledger that commits one by one cannot exceed.
"""

import re
import resource
import subprocess
import tempfile
from typing import Final

from bench.client import Finding
from bench.wallets import ACTIVE
from specie_cli.stack.postgres import wheel_tree

CLIENTS: Final = 16

# Locks in the order of the ids, as every ledger must. Account 0 is the hot one.
RANDOM_PAIR: Final = r"""
\set first random(1, :accounts)
\set second 1 + (:first + random(0, :accounts - 2)) % :accounts
\set low least(:first, :second)
\set high greatest(:first, :second)
"""
HOT_PAIR: Final = r"""
\set low 0
\set high random(1, :accounts)
"""
TRANSFER: Final = r"""
BEGIN;
SELECT balance AS low_balance, version AS low_version FROM floor.account WHERE id = :low FOR UPDATE \gset
SELECT balance AS high_balance, version AS high_version FROM floor.account WHERE id = :high FOR UPDATE \gset
UPDATE floor.account SET balance = balance - 1, version = version + 1 WHERE id = :low;
UPDATE floor.account SET balance = balance + 1, version = version + 1 WHERE id = :high;
INSERT INTO floor.transaction VALUES (gen_random_uuid(), :low, :high, 1, now()) RETURNING id \gset
INSERT INTO floor.entry VALUES (:low, :low_version + 1, :id, -1, :low_balance - 1, now());
INSERT INTO floor.entry VALUES (:high, :high_version + 1, :id, 1, :high_balance + 1, now());
COMMIT;
"""


def one_by_one(dsn: str, seconds: float, *, hot: bool) -> Finding:
    """In whole seconds, as pgbench counts. It tells no latency of each transfer."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write((HOT_PAIR if hot else RANDOM_PAIR) + TRANSFER)
        script.flush()
        command = [str(wheel_tree() / "bin" / "pgbench"), "--no-vacuum", "--protocol=prepared", "--jobs=1"]
        command += [f"--client={CLIENTS}", f"--time={max(1, round(seconds))}", f"--define=accounts={ACTIVE}"]
        command += [f"--file={script.name}", dsn]
        before = _children_cpu_seconds()
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    done = _number(r"number of transactions actually processed: (\d+)", result.stdout)
    rate = _number(r"tps = ([\d.]+)", result.stdout)
    return Finding(int(done), done / rate, _children_cpu_seconds() - before, [])


def _children_cpu_seconds() -> float:
    """Of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench did not say {pattern}:\n{text}")
    return float(found[1])
