"""What Alembic runs for each tree: the owner's connection, its time limits, and what belongs to the tree's schema."""

from importlib import import_module
from typing import Any

from alembic import context
from sqlalchemy import Connection, MetaData, create_engine, text

from migrations.trees import TREES, MigrationError, url

# A migration that waits for a lock makes every later query on that table wait behind it: better to give up soon and be
# run again. What needs longer sets it for itself.
LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 60_000
# Only one migration of one database at a time, however many replicas start it at once. Any constant number serves.
ADVISORY_LOCK = 0x5350_4543_4945
ADVISORY_LOCK_TIMEOUT_MS = 120_000


def metadata(path: str) -> MetaData:
    """`package.module:name`, as alembic.ini gives it."""
    module, name = path.split(":")
    found = getattr(import_module(module), name)
    if not isinstance(found, MetaData):
        raise MigrationError(f"{path} is not a MetaData")
    return found


def run(connection: Connection, schema: str, target: MetaData) -> None:
    def in_schema(name: str | None, kind: str, _parents: Any) -> bool:  # noqa: ANN401 - as Alembic declares it
        return kind != "schema" or name == schema

    context.configure(
        connection=connection,
        target_metadata=target,
        version_table_schema=schema,
        include_schemas=True,
        include_name=in_schema,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    if context.is_offline_mode():
        raise MigrationError("Migrations look at the database that they change; there is no offline mode.")
    section = context.config.get_section(context.config.config_ini_section) or {}
    schema = section["schema"]
    engine = create_engine(url(TREES[context.config.config_ini_section].owner_dsn))
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET lock_timeout = {ADVISORY_LOCK_TIMEOUT_MS}"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
            connection.execute(text(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}"))
            # The version table stands in the schema, so the schema cannot be the first migration's work.
            exists = connection.execute(text("SELECT to_regnamespace(:schema) IS NOT NULL"), {"schema": schema})
            if not exists.scalar_one():
                connection.execute(text(f'CREATE SCHEMA "{schema}"'))
            connection.commit()
            run(connection, schema, metadata(section["metadata"]))
    finally:
        engine.dispose()


main()
