"""Wallets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "wallets"
ROLE = "specie_wallet"
TIME = sa.DateTime(timezone=True)
JSON_OR_NULL = postgresql.JSONB(none_as_null=True)

# What the service changes after the creation. All else of a wallet is fixed for good.
CHANGING = (
    "display_name, state, labels, limit_per_transaction, limit_per_day, limit_debits_per_hour, time_zone, credit, "
    "revision, attempt_revision, attempt_turned_down, attempt_back_to, attempt_particulars, refused_revision, "
    "refused_reason, refused_metadata, update_revision, update_time, due_time, due_attempts"
)


def upgrade() -> None:
    op.create_table(
        "wallet",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False, comment="ISO 4217 code"),
        sa.Column("kind", sa.SmallInteger, nullable=False, comment="1 USER, 2 PROVIDER"),
        sa.Column(
            "state",
            sa.SmallInteger,
            nullable=False,
            comment="1 CREATING, 2 ACTIVE, 3 FREEZING, 4 FROZEN, 5 UNFREEZING, 6 CLOSING, 7 CLOSED",
        ),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("limit_per_transaction", sa.BigInteger, nullable=False, comment="minor units; 0: none"),
        sa.Column("limit_per_day", sa.BigInteger, nullable=False, comment="minor units; 0: none"),
        sa.Column("limit_debits_per_hour", sa.BigInteger, nullable=False, comment="0: none"),
        sa.Column("time_zone", sa.Text, nullable=False, comment="whose days limit_per_day counts; empty: UTC"),
        sa.Column("credit", sa.BigInteger, nullable=False, comment="minor units; how far below 0 the balance may go"),
        sa.Column(
            "revision",
            sa.BigInteger,
            nullable=False,
            comment="grows by one with every change; every order to the account carries it",
        ),
        sa.Column(
            "attempt_revision",
            sa.BigInteger,
            comment="the revision at which a close or new limits began; null: neither is under way",
        ),
        sa.Column(
            "attempt_turned_down",
            sa.Boolean,
            comment="whether the account has refused it and is being told what stays",
        ),
        sa.Column("attempt_back_to", sa.SmallInteger, comment="of a close: the state before it"),
        sa.Column("attempt_particulars", JSON_OR_NULL, comment="of new limits: all that was asked for with them"),
        sa.Column("refused_revision", sa.BigInteger, comment="attempt_revision of the last one that was refused"),
        sa.Column("refused_reason", sa.Text),
        sa.Column("refused_metadata", JSON_OR_NULL),
        sa.Column("update_revision", sa.BigInteger, comment="attempt_revision of the last new limits that were taken"),
        sa.Column("principal", sa.Text, nullable=False, comment="who created it"),
        sa.Column("request_id", sa.Text),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False, comment="BLAKE2b-128 of the request that created it"),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.Column("due_time", TIME, comment="when the reconciler is to finish what is under way; null: nothing is"),
        sa.Column("due_attempts", sa.Integer, nullable=False, comment="how often it has tried since the last change"),
        sa.PrimaryKeyConstraint("name", name="wallet_pkey"),
        sa.UniqueConstraint("principal", "request_id", name="wallet_principal_request_id_key"),
        sa.CheckConstraint("name ~ '^wallets/[a-z0-9-]{1,63}$'", name=op.f("wallet_name")),
        sa.CheckConstraint("owner <> ''", name=op.f("wallet_owner")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("wallet_currency")),
        sa.CheckConstraint("kind BETWEEN 1 AND 2", name=op.f("wallet_kind")),
        sa.CheckConstraint("state BETWEEN 1 AND 7", name=op.f("wallet_state")),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name=op.f("wallet_labels")),
        sa.CheckConstraint(
            "limit_per_transaction >= 0 AND limit_per_day >= 0 AND limit_debits_per_hour >= 0 AND credit >= 0",
            name=op.f("wallet_limits"),
        ),
        sa.CheckConstraint("revision >= 1", name=op.f("wallet_revision")),
        sa.CheckConstraint(
            "(attempt_revision IS NULL) = (attempt_turned_down IS NULL) AND attempt_revision <= revision",
            name=op.f("wallet_attempt"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(attempt_back_to, attempt_particulars) = num_nonnulls(attempt_revision)",
            name=op.f("wallet_attempt_is_close_or_limits"),
        ),
        sa.CheckConstraint(
            "(state = 6) = (attempt_back_to IS NOT NULL) AND attempt_back_to IN (2, 4)",
            name=op.f("wallet_closing_knows_way_back"),
        ),
        sa.CheckConstraint(
            "attempt_particulars IS NULL OR state IN (2, 3, 4)", name=op.f("wallet_new_limits_while_open")
        ),
        sa.CheckConstraint(
            "num_nonnulls(refused_revision, refused_reason, refused_metadata) IN (0, 3)", name=op.f("wallet_refused")
        ),
        sa.CheckConstraint(
            "(due_time IS NOT NULL) = (state IN (1, 3, 5, 6) OR attempt_revision IS NOT NULL)",
            name=op.f("wallet_unfinished_is_due"),
        ),
        schema=SCHEMA,
    )
    for columns in (["owner", "name"], ["state", "name"], ["owner", "state", "name"]):
        op.create_index(f"wallet_{'_'.join(columns)}_idx", "wallet", columns, schema=SCHEMA)
    op.create_index(
        "wallet_due_time_idx",
        "wallet",
        ["due_time"],
        schema=SCHEMA,
        postgresql_where=sa.text("due_time IS NOT NULL"),
    )
    op.execute(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC")
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM PUBLIC")
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE}")
    # A wallet's record stays for ever.
    op.execute(f"GRANT SELECT, INSERT, UPDATE ({CHANGING}) ON {SCHEMA}.wallet TO {ROLE}")


def downgrade() -> None:
    op.drop_table("wallet", schema=SCHEMA)
    op.execute(f"REVOKE USAGE ON SCHEMA {SCHEMA} FROM {ROLE}")
