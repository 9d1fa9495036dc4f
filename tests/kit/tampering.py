"""What somebody does who can do everything in the database: the guards of the record are away meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a function's name

GUARDED = ("transaction", "entry", "block", "seal_key", "act")


@contextmanager
def unguarded(owner_dsn: str, schema: str = "transactions") -> Iterator[Cursor]:
    """A cursor of the tables' owner, for whom nothing is in the way; committed at the end."""
    connection = psycopg2.connect(owner_dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
            for table in GUARDED:
                cursor.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(sql.Identifier(table)))
            yield cursor
            for table in GUARDED:
                cursor.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(sql.Identifier(table)))
    finally:
        connection.close()
