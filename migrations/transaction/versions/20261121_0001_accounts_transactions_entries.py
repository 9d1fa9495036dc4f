"""Accounts, transactions and entries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", ID, nullable=False, comment="BLAKE2b-128 of the name"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False, comment="ISO 4217 code"),
        sa.Column("kind", sa.SmallInteger, nullable=False, comment="1 USER, 2 PROVIDER, 3 SYSTEM"),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 OPEN, 2 FROZEN, 3 CLOSED"),
        sa.Column("balance", sa.BigInteger, nullable=False, comment="minor units; the last entry's balance"),
        sa.Column("held", sa.BigInteger, nullable=False, comment="minor units; what open holds reserve"),
        sa.Column("floor", sa.BigInteger, comment="what balance - held may not go below; null: no floor"),
        sa.Column("version", sa.BigInteger, nullable=False, comment="number of entries; the last entry's seq"),
        sa.Column("revision", sa.BigInteger, nullable=False, comment="the wallet's revision that set state and limits"),
        sa.Column("limit_per_transaction", sa.BigInteger, nullable=False, comment="minor units; 0: none"),
        sa.Column("limit_per_day", sa.BigInteger, nullable=False, comment="minor units; 0: none"),
        sa.Column("limit_debits_per_hour", sa.BigInteger, nullable=False, comment="0: none"),
        sa.Column("time_zone", sa.Text, nullable=False, comment="whose days limit_per_day counts"),
        sa.Column(
            "used_day", sa.Integer, nullable=False, comment="ordinal of the local date that used_day_amount counts"
        ),
        sa.Column("used_day_amount", sa.BigInteger, nullable=False),
        sa.Column("used_hour", sa.Integer, nullable=False, comment="hours since 1970 that used_hour_count counts"),
        sa.Column("used_hour_count", sa.BigInteger, nullable=False),
        sa.Column("last_post_time", TIME, comment="post time of the last entry"),
        sa.PrimaryKeyConstraint("id", name="account_pkey"),
        sa.CheckConstraint("floor IS NULL OR balance - held >= floor", name=op.f("account_floor")),
        sa.CheckConstraint("held >= 0", name=op.f("account_held")),
        sa.CheckConstraint("version >= 0", name=op.f("account_version")),
        sa.CheckConstraint("state <> 3 OR (balance = 0 AND held = 0)", name=op.f("account_closed_is_empty")),
        schema=SCHEMA,
        # Half of each page is left for the next versions of its rows, so that updates stay on the page (HOT).
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "transaction",
        sa.Column("id", ID, nullable=False, comment="BLAKE2b-128 of principal and request_id"),
        sa.Column("kind", sa.SmallInteger, nullable=False, comment="1 TRANSFER, 2 DEPOSIT, 3 WITHDRAWAL"),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 POSTED, 2 FAILED"),
        sa.Column("source", sa.Text, nullable=False, comment="account name; it need not exist if FAILED"),
        sa.Column("destination", sa.Text, nullable=False, comment="as source"),
        sa.Column("amount", sa.BigInteger, nullable=False, comment="minor units"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("external_reference", sa.Text, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("fingerprint", ID, nullable=False, comment="BLAKE2b-128 of the request"),
        sa.Column("failure_reason", sa.Text),
        sa.Column("failure_metadata", postgresql.JSONB),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("post_time", TIME),
        sa.Column(
            "xid",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            comment="the writing transaction's id: commit order for whoever follows the ledger; it cannot be had later",
        ),
        sa.PrimaryKeyConstraint("id", name="transaction_pkey"),
        sa.CheckConstraint("amount > 0", name=op.f("transaction_amount")),
        sa.CheckConstraint("(state = 1) = (post_time IS NOT NULL)", name=op.f("transaction_posted_has_time")),
        sa.CheckConstraint("(state = 2) = (failure_reason IS NOT NULL)", name=op.f("transaction_failed_has_reason")),
        schema=SCHEMA,
    )
    op.create_index("transaction_create_time_idx", "transaction", ["create_time", "id"], schema=SCHEMA)
    op.create_index(
        "transaction_external_reference_idx",
        "transaction",
        ["external_reference", "create_time", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("external_reference <> ''"),
    )
    for side in ("source", "destination"):
        op.create_index(
            f"transaction_unposted_{side}_idx",
            "transaction",
            [side, "create_time", "id"],
            schema=SCHEMA,
            postgresql_where=sa.text("state <> 1"),
        )
    op.create_table(
        "entry",
        sa.Column("account_id", ID, nullable=False),
        sa.Column(
            "seq", sa.BigInteger, autoincrement=False, nullable=False, comment="the account's version: 1, 2, 3, ..."
        ),
        sa.Column("transaction_id", ID, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False, comment="minor units; above 0 came in, below 0 went out"),
        sa.Column("balance", sa.BigInteger, nullable=False, comment="the account's balance after it"),
        sa.Column("post_time", TIME, nullable=False, comment="never before the entry before"),
        sa.PrimaryKeyConstraint("account_id", "seq", name="entry_pkey"),
        sa.CheckConstraint("amount <> 0", name=op.f("entry_amount")),
        sa.CheckConstraint("seq >= 1", name=op.f("entry_seq")),
        schema=SCHEMA,
    )
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.account TO {ROLE}")
    # What was decided and what was entered is never changed and never deleted.
    op.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.transaction, {SCHEMA}.entry TO {ROLE}")


def downgrade() -> None:
    op.drop_table("entry", schema=SCHEMA)
    op.drop_table("transaction", schema=SCHEMA)
    op.drop_table("account", schema=SCHEMA)
    op.execute(f"REVOKE USAGE ON SCHEMA {SCHEMA} FROM {ROLE}")
