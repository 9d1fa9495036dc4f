"""The table of schema `wallets`.

One row a wallet, and beside what people see of it what is needed to finish what is under way (domain/wallet.py). The
service's role may not delete rows, nor change what is fixed for good; see the migrations.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service_kit.act_table import act_table

SCHEMA = "wallets"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    },
)

TIME = DateTime(timezone=True)
JSON_OR_NULL = JSONB(none_as_null=True)

wallet = Table(
    "wallet",
    metadata,
    # By bytes, so that the order of pages does not hang on the server's locale.
    Column("name", Text(collation="C"), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("currency", Text, nullable=False, comment="ISO 4217 code"),
    Column("kind", SmallInteger, nullable=False, comment="1 USER, 2 PROVIDER"),
    Column(
        "state",
        SmallInteger,
        nullable=False,
        comment="1 CREATING, 2 ACTIVE, 3 FREEZING, 4 FROZEN, 5 UNFREEZING, 6 CLOSING, 7 CLOSED",
    ),
    Column("labels", JSONB, nullable=False),
    Column("limit_per_transaction", BigInteger, nullable=False, comment="minor units; 0: none"),
    Column("limit_per_day", BigInteger, nullable=False, comment="minor units; 0: none"),
    Column("limit_debits_per_hour", BigInteger, nullable=False, comment="0: none"),
    Column("time_zone", Text, nullable=False, comment="whose days limit_per_day counts; empty: UTC"),
    Column("credit", BigInteger, nullable=False, comment="minor units; how far below 0 the balance may go"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="grows by one with every change; every order to the account carries it",
    ),
    Column(
        "attempt_revision",
        BigInteger,
        comment="the revision at which a close or new limits began; null: neither is under way",
    ),
    Column("attempt_turned_down", Boolean, comment="whether the account has refused it and is being told what stays"),
    Column("attempt_back_to", SmallInteger, comment="of a close: the state before it"),
    Column("attempt_particulars", JSON_OR_NULL, comment="of new limits: all that was asked for with them"),
    Column("refused_revision", BigInteger, comment="attempt_revision of the last one that was refused"),
    Column("refused_reason", Text),
    Column("refused_metadata", JSON_OR_NULL),
    Column("update_revision", BigInteger, comment="attempt_revision of the last new limits that were taken"),
    Column("principal", Text, nullable=False, comment="who created it"),
    Column("request_id", Text),
    Column("fingerprint", LargeBinary, nullable=False, comment="BLAKE2b-128 of the request that created it"),
    Column("create_time", TIME, nullable=False),
    Column("update_time", TIME, nullable=False),
    Column("due_time", TIME, comment="when the reconciler is to finish what is under way; null: nothing is"),
    Column("due_attempts", Integer, nullable=False, comment="how often it has tried since the last change"),
    UniqueConstraint("principal", "request_id"),
    CheckConstraint("name ~ '^wallets/[a-z0-9-]{1,63}$'", name="name"),
    CheckConstraint("owner <> ''", name="owner"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    CheckConstraint("kind BETWEEN 1 AND 2", name="kind"),
    CheckConstraint("state BETWEEN 1 AND 7", name="state"),
    CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels"),
    CheckConstraint(
        "limit_per_transaction >= 0 AND limit_per_day >= 0 AND limit_debits_per_hour >= 0 AND credit >= 0",
        name="limits",
    ),
    CheckConstraint("revision >= 1", name="revision"),
    CheckConstraint(
        "(attempt_revision IS NULL) = (attempt_turned_down IS NULL) AND attempt_revision <= revision", name="attempt"
    ),
    CheckConstraint(
        "num_nonnulls(attempt_back_to, attempt_particulars) = num_nonnulls(attempt_revision)",
        name="attempt_is_close_or_limits",
    ),
    CheckConstraint(
        "(state = 6) = (attempt_back_to IS NOT NULL) AND attempt_back_to IN (2, 4)", name="closing_knows_way_back"
    ),
    CheckConstraint("attempt_particulars IS NULL OR state IN (2, 3, 4)", name="new_limits_while_open"),
    CheckConstraint("num_nonnulls(refused_revision, refused_reason, refused_metadata) IN (0, 3)", name="refused"),
    CheckConstraint(
        "(due_time IS NOT NULL) = (state IN (1, 3, 5, 6) OR attempt_revision IS NOT NULL)", name="unfinished_is_due"
    ),
    # ListWallets: each of its filters finds its page in the order of the names.
    Index(None, "owner", "name"),
    Index(None, "state", "name"),
    Index(None, "owner", "state", "name"),
    # The reconciler's: only the few that are unfinished.
    Index("wallet_due_time_idx", "due_time", postgresql_where=text("due_time IS NOT NULL")),
)

act = act_table(metadata, subject="the wallet's name", number="the wallet's revision since it")
