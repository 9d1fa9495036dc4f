"""The trees of migrations: what each is called, where it stands, who owns its schema."""

import os
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

INI = Path(__file__).with_name("alembic.ini")


class MigrationError(Exception):
    """The message says all: what is wrong and what to do."""


@dataclass(frozen=True)
class Tree:
    name: str
    role: str
    """The service's role, to which the tree's migrations grant what the service needs."""

    @property
    def owner_dsn(self) -> str:
        """From SPECIE_{NAME}_OWNER_DSN, for a server of its own, or SPECIE_OWNER_DSN, for one server of both."""
        own, common = f"SPECIE_{self.name.upper()}_OWNER_DSN", "SPECIE_OWNER_DSN"
        dsn = os.environ.get(own) or os.environ.get(common)
        if not dsn:
            raise MigrationError(f"Neither {own} nor {common} is set: the DSN of the role that owns the schemas.")
        return dsn

    @property
    def service_dsn(self) -> str:
        variable = f"SPECIE_{self.name.upper()}_DATABASE_DSN"
        dsn = os.environ.get(variable)
        if not dsn:
            raise MigrationError(f"{variable} is not set: the DSN that the service itself uses.")
        return dsn

    def config(self) -> Config:
        return Config(INI, ini_section=self.name)


WALLET = Tree("wallet", role="specie_wallet")
TRANSACTION = Tree("transaction", role="specie_transaction")
TREES = {tree.name: tree for tree in (WALLET, TRANSACTION)}


def url(dsn: str) -> URL:
    """A DSN as SQLAlchemy takes it. `postgresql://` alone would mean another driver."""
    try:
        return make_url(dsn).set(drivername="postgresql+psycopg2")
    except ArgumentError:
        # The original message repeats the DSN with its password.
        raise MigrationError("A DSN is not of the form postgresql://user:password@host:port/database.") from None
