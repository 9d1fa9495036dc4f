"""The floor: what PostgreSQL does with one SQL transaction per transfer, driven by its own pgbench.

A transfer is 2 SELECT FOR UPDATE, 2 UPDATE and 3 INSERT on tables narrower than the ledger's, with no service and no
network protocol in it: what a ledger that commits one by one cannot exceed.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass

import psycopg2

from bench.machine import CpuMeter
from specie_cli.stack.postgres import wheel_tree

ACCOUNTS = 1000
CLIENTS = 16

TABLES = """
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE TABLE floor.account (id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE floor.transaction (id uuid PRIMARY KEY, source bigint, destination bigint, amount bigint,
    create_time timestamptz NOT NULL);
CREATE TABLE floor.entry (account_id bigint, seq bigint, transaction_id uuid, amount bigint, balance bigint,
    post_time timestamptz NOT NULL, PRIMARY KEY (account_id, seq));
INSERT INTO floor.account SELECT id, 1000000000, 0 FROM generate_series(0, %(accounts)s) AS id;
ANALYZE floor.account;
"""

# Locks in the order of the ids, as every ledger must. Account 0 is the hot one.
RANDOM_PAIR = r"""
\set first random(1, :accounts)
\set second 1 + (:first + random(0, :accounts - 2)) % :accounts
\set low least(:first, :second)
\set high greatest(:first, :second)
"""
HOT_PAIR = r"""
\set low 0
\set high random(1, :accounts)
"""
TRANSFER = r"""
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


@dataclass(frozen=True)
class Floor:
    transfers_per_second: float
    cpu_us_per_transfer: float
    """Of PostgreSQL and pgbench together."""


def prepare(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES, {"accounts": ACCOUNTS})
    connection.close()


def measure(dsn: str, seconds: int, meter: CpuMeter, *, hot: bool) -> Floor:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write((HOT_PAIR if hot else RANDOM_PAIR) + TRANSFER)
        script.flush()
        command = [str(wheel_tree() / "bin" / "pgbench"), "--no-vacuum", "--protocol=prepared"]
        command += [
            f"--client={CLIENTS}",
            "--jobs=1",
            f"--time={seconds}",
            f"--define=accounts={ACCOUNTS}",
            f"--file={script.name}",
            dsn,
        ]
        with meter:
            result = subprocess.run(command, capture_output=True, text=True, check=True)
    count = _number(r"number of transactions actually processed: (\d+)", result.stdout)
    rate = _number(r"tps = ([\d.]+)", result.stdout)
    return Floor(rate, (meter.seconds["postgres"] + meter.seconds["children"]) / count * 1e6)


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench did not say {pattern}:\n{text}")
    return float(found[1])
