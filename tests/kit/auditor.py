"""An independent auditor of the ledger in PostgreSQL: plain SQL as the owner, none of the service's code."""

from collections.abc import Mapping
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_values

from tests.kit.audit_rules import ACKNOWLEDGED, ALWAYS_ABOVE_FLOOR, RULES

SHOWN_MAX: Final = 5
"""Rows told of one broken rule."""


class UnsoundLedger(AssertionError):  # noqa: N818 - what it is
    """What the auditor found, a line each."""


def audit(owner_dsn: str, acknowledged: Mapping[str, str] | None = None, *, floors_never_changed: bool = False) -> None:
    """Raises UnsoundLedger. `acknowledged`: by transaction id (or name `transactions/{id}`) what callers were told:
    POSTED, PENDING, or the reason of a FAILED one. Sees one moment, also while transfers run."""
    connection = psycopg2.connect(owner_dsn)
    try:
        connection.set_session(isolation_level="REPEATABLE READ")
        found = findings(connection, acknowledged, floors_never_changed=floors_never_changed)
    finally:
        connection.close()
    if found:
        raise UnsoundLedger("\n".join(found))


def findings(
    connection: psycopg2.extensions.connection,
    acknowledged: Mapping[str, str] | None = None,
    *,
    floors_never_changed: bool = False,
) -> list[str]:
    """In the connection's open transaction; one line for each broken rule."""
    rules = dict(RULES)
    if floors_never_changed:
        rules["no account was ever below its floor"] = ALWAYS_ABOVE_FLOOR
    if acknowledged:
        rules["what was acknowledged is there, with that outcome"] = ACKNOWLEDGED
    found = []
    with connection.cursor() as cursor:
        if acknowledged:
            cursor.execute("CREATE TEMPORARY TABLE acknowledged (id uuid, outcome text) ON COMMIT DROP")
            said = [(name.removeprefix("transactions/"), outcome) for name, outcome in acknowledged.items()]
            execute_values(cursor, "INSERT INTO acknowledged (id, outcome) VALUES %s", said)
        for rule, query in rules.items():
            cursor.execute(query)
            rows = cursor.fetchall()
            if rows:
                shown = "; ".join(", ".join(map(str, row)) for row in rows[:SHOWN_MAX])
                found.append(f"Broken {len(rows)} times: {rule} ({shown})")
    return found
