"""The ledger's tables in schema `transactions`; those around it are in record_tables.py.

No sequence, no foreign key, no trigger but the guards that refuse changes of the record (docs/adr/0029), and every
primary key contains the column by which the table could be distributed. The service's role may not UPDATE or DELETE
entries, nor transactions that are decided; see the migrations.
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
    Column("kind", SmallInteger, nullable=False, comment="TransactionKind of the contract"),
    Column("state", SmallInteger, nullable=False, comment="1 POSTED, 2 FAILED, 3 PENDING"),
    Column("source", Text, nullable=False, comment="account name; it need not exist if FAILED; empty: see terms"),
    Column("destination", Text, nullable=False, comment="as source"),
    Column("amount", BigInteger, nullable=False, comment="minor units; 0 where the postings in terms say it all"),
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
    Column("decide_time", DateTime(timezone=True), nullable=False, comment="post time if POSTED; PENDING: create time"),
    Column(
        "xid",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        comment="the transaction that wrote its state: commit order for whoever follows the ledger",
    ),
    Column(
        "terms", JSONB, comment="what it asks for beyond one amount: fee, postings, conditions, times; null: nothing"
    ),
    Column("hold", Uuid(as_uuid=False), comment="the hold that it placed, captured, released or expired"),
    Column("reverses", Uuid(as_uuid=False), comment="the transaction that it gives back"),
    CheckConstraint("amount > 0 OR (amount = 0 AND kind IN (4, 5))", name="amount"),
    CheckConstraint("(state = 2) = (failure_reason IS NOT NULL)", name="failed_has_reason"),
    Index("transaction_decide_time_idx", "decide_time", "id"),
    Index(
        "transaction_external_reference_idx",
        "external_reference",
        "decide_time",
        "id",
        postgresql_where=text("external_reference <> ''"),
    ),
    # The feed reads along it, in the order of commits.
    Index("transaction_feed_idx", "xid", "id"),
    Index("transaction_reverses_idx", "reverses", postgresql_where=text("reverses IS NOT NULL")),
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
    # Entries are appended in the order of their post times: it finds those of a second, and costs next to nothing.
    Index("entry_post_time_idx", "post_time", postgresql_using="brin"),
)

listing = Table(
    "listing",
    metadata,
    Column("key", Uuid(as_uuid=False), primary_key=True, comment="id of an account or a label"),
    Column("decide_time", DateTime(timezone=True), primary_key=True, comment="the transaction's"),
    Column("transaction_id", Uuid(as_uuid=False), primary_key=True),
    comment="transactions by the accounts that they name without an entry, and by label",
)

hold = Table(
    "hold",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True, comment="that of the transaction that placed it"),
    Column("state", SmallInteger, nullable=False, comment="1 OPEN, 2 CAPTURED, 3 RELEASED, 4 EXPIRED"),
    Column("source", Text, nullable=False, comment="account name; its row lock guards this row"),
    Column("destination", Text, nullable=False, comment="account name"),
    Column("amount", BigInteger, nullable=False, comment="minor units; what it reserved at first"),
    Column("captured", BigInteger, nullable=False, comment="minor units"),
    Column("released", BigInteger, nullable=False, comment="minor units"),
    Column("currency", Text, nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("description", Text, nullable=False),
    Column("external_reference", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("claimed_until", DateTime(timezone=True), comment="until then its expiry is some worker's work"),
    CheckConstraint("amount > 0 AND captured >= 0 AND released >= 0", name="amounts"),
    CheckConstraint("captured + released <= amount", name="never_above"),
    CheckConstraint("(state = 1) = (captured + released < amount)", name="open_has_rest"),
    Index("hold_create_time_idx", "create_time", "id"),
    Index("hold_source_idx", "source", "create_time", "id"),
    Index("hold_destination_idx", "destination", "create_time", "id"),
    Index("hold_open_create_time_idx", "create_time", "id", postgresql_where=text("state = 1")),
    Index("hold_open_source_idx", "source", "create_time", "id", postgresql_where=text("state = 1")),
    Index("hold_open_destination_idx", "destination", "create_time", "id", postgresql_where=text("state = 1")),
    Index("hold_open_reference_idx", "external_reference", "create_time", "id", postgresql_where=text("state = 1")),
    Index("hold_open_expire_time_idx", "expire_time", "id", postgresql_where=text("state = 1")),
)

pending = Table(
    "pending",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True, comment="a PENDING transaction's"),
    Column("execute_time", DateTime(timezone=True), nullable=False, comment="not to be posted before"),
    Column("claimed_until", DateTime(timezone=True), comment="until then it is some worker's work"),
    Index("pending_execute_time_idx", "execute_time", "id"),
)
