"""The tables of schema `transactions`.

No sequence, no trigger, no foreign key, and every primary key contains the column by which the table could be
distributed. The service's role may not UPDATE or DELETE entries or accounts' history; see the migrations.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "transactions"
ACCOUNT_FILLFACTOR = 50
"""Half of each page is left for the next versions of its rows, so that updates stay on the page (HOT)."""

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    },
)

account = Table(
    "account",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True, comment="BLAKE2b-128 of the name"),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("currency", Text, nullable=False, comment="ISO 4217 code"),
    Column("kind", SmallInteger, nullable=False, comment="1 USER, 2 PROVIDER, 3 SYSTEM"),
    Column("state", SmallInteger, nullable=False, comment="1 OPEN, 2 FROZEN, 3 CLOSED"),
    Column("balance", BigInteger, nullable=False, comment="minor units; the last entry's balance"),
    Column("held", BigInteger, nullable=False, comment="minor units; what open holds reserve"),
    Column("floor", BigInteger, comment="what balance - held may not go below; null: no floor"),
    Column("version", BigInteger, nullable=False, comment="number of entries; the last entry's seq"),
    Column("revision", BigInteger, nullable=False, comment="the wallet's revision that set state and limits"),
    Column("limit_per_transaction", BigInteger, nullable=False, comment="minor units; 0: none"),
    Column("limit_per_day", BigInteger, nullable=False, comment="minor units; 0: none"),
    Column("limit_debits_per_hour", BigInteger, nullable=False, comment="0: none"),
    Column("time_zone", Text, nullable=False, comment="whose days limit_per_day counts"),
    Column("used_day", Integer, nullable=False, comment="ordinal of the local date that used_day_amount counts"),
    Column("used_day_amount", BigInteger, nullable=False),
    Column("used_hour", Integer, nullable=False, comment="hours since 1970 that used_hour_count counts"),
    Column("used_hour_count", BigInteger, nullable=False),
    Column("last_post_time", DateTime(timezone=True), comment="post time of the last entry"),
    CheckConstraint("floor IS NULL OR balance - held >= floor", name="floor"),
    CheckConstraint("held >= 0", name="held"),
    CheckConstraint("version >= 0", name="version"),
    CheckConstraint("state <> 3 OR (balance = 0 AND held = 0)", name="closed_is_empty"),
    postgresql_with={"fillfactor": ACCOUNT_FILLFACTOR},
)

transaction = Table(
    "transaction",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True, comment="BLAKE2b-128 of principal and request_id"),
    Column("kind", SmallInteger, nullable=False, comment="1 TRANSFER, 2 DEPOSIT, 3 WITHDRAWAL"),
    Column("state", SmallInteger, nullable=False, comment="1 POSTED, 2 FAILED"),
    Column("source", Text, nullable=False, comment="account name; it need not exist if FAILED"),
    Column("destination", Text, nullable=False, comment="as source"),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("currency", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("external_reference", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("principal", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("fingerprint", Uuid(as_uuid=False), nullable=False, comment="BLAKE2b-128 of the request"),
    Column("failure_reason", Text),
    Column("failure_metadata", JSONB),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("post_time", DateTime(timezone=True)),
    Column(
        "xid",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        comment="the writing transaction's id: commit order for whoever follows the ledger; it cannot be had later",
    ),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("(state = 1) = (post_time IS NOT NULL)", name="posted_has_time"),
    CheckConstraint("(state = 2) = (failure_reason IS NOT NULL)", name="failed_has_reason"),
    Index("transaction_create_time_idx", "create_time", "id"),
    Index(
        "transaction_external_reference_idx",
        "external_reference",
        "create_time",
        "id",
        postgresql_where=text("external_reference <> ''"),
    ),
    # Posted transactions are found through their accounts' entries; these are for the others.
    Index("transaction_unposted_source_idx", "source", "create_time", "id", postgresql_where=text("state <> 1")),
    Index(
        "transaction_unposted_destination_idx", "destination", "create_time", "id", postgresql_where=text("state <> 1")
    ),
)

entry = Table(
    "entry",
    metadata,
    Column("account_id", Uuid(as_uuid=False), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="the account's version: 1, 2, 3, ..."),
    Column("transaction_id", Uuid(as_uuid=False), nullable=False),
    Column("amount", BigInteger, nullable=False, comment="minor units; above 0 came in, below 0 went out"),
    Column("balance", BigInteger, nullable=False, comment="the account's balance after it"),
    Column("post_time", DateTime(timezone=True), nullable=False, comment="never before the entry before"),
    CheckConstraint("amount <> 0", name="amount"),
    CheckConstraint("seq >= 1", name="seq"),
)
