"""What somebody does who can do everything in the database: the guards of the record are away meanwhile."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a function's name

GUARDED: Final[Mapping[str, tuple[str, ...]]] = {
    "transactions": ("transaction", "entry", "block", "seal_key", "act"),
    "wallets": ("act",),
}
"""By schema: the tables that refuse changes."""


@contextmanager
def unguarded(owner_dsn: str, schema: str = "transactions") -> Iterator[Cursor]:
    """A cursor of the tables' owner, for whom nothing is in the way; committed at the end."""
    connection = psycopg2.connect(owner_dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
            set_guards(cursor, "DISABLE", schema)
            yield cursor
            set_guards(cursor, "ENABLE", schema)
    finally:
        connection.close()


def set_guards(cursor: Cursor, verb: str, schema: str = "transactions", tables: Collection[str] | None = None) -> None:
    """`verb`: DISABLE or ENABLE. As the owner, for everybody, when it is committed; whoever writes into one of the
    tables (None: all that are guarded) is waited for."""
    for table in GUARDED[schema] if tables is None else tables:
        statement = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
        cursor.execute(statement.format(sql.Identifier(schema, table), sql.SQL(verb)))
