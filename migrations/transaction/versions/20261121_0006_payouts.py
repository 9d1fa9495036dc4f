"""Payouts: what is to be paid to the outside."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
CHANGING = (
    "state, attempts, failures, taken, next_time, claimed_until, provider_reference, last_error, reversal, "
    "reversal_attempts, deaths, update_time"
)


def upgrade() -> None:
    op.create_table(
        "payout",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False, comment="that of the withdrawal"),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 PENDING, 2 PAID, 3 REFUSED, 4 REVERSED, 5 DEAD"),
        sa.Column("wallet", sa.Text, nullable=False, comment="account name"),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False, comment="where to, in the provider's terms"),
        sa.Column("beneficiary", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False, comment="what the beneficiary is told"),
        sa.Column("amount", sa.BigInteger, nullable=False, comment="minor units"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, comment="calls of the provider since it was new or retried"),
        sa.Column("failures", sa.Integer, nullable=False, comment="tries in a row that told nothing"),
        sa.Column("taken", sa.Boolean, nullable=False, comment="the provider has it under way"),
        sa.Column("next_time", TIME, comment="when there is something to do; null: nothing is"),
        sa.Column("claimed_until", TIME, comment="until then it is some worker's work"),
        sa.Column("provider_reference", sa.Text, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("reversal", sa.Uuid(as_uuid=False), comment="the transaction that gave the money back"),
        sa.Column("reversal_attempts", sa.Integer, nullable=False, comment="reversals that the ledger refused"),
        sa.Column("deaths", sa.Integer, nullable=False, comment="how often it became DEAD"),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="payout_pkey"),
        sa.CheckConstraint("amount > 0", name=op.f("payout_amount")),
        sa.CheckConstraint("state BETWEEN 1 AND 5", name=op.f("payout_state")),
        sa.CheckConstraint("(state IN (1, 3)) = (next_time IS NOT NULL)", name=op.f("payout_due")),
        sa.CheckConstraint("(state = 4) = (reversal IS NOT NULL)", name=op.f("payout_reversed")),
        schema=SCHEMA,
    )
    op.create_index("payout_create_time_idx", "payout", ["create_time", "id"], schema=SCHEMA)
    op.create_index("payout_wallet_idx", "payout", ["wallet", "create_time", "id"], schema=SCHEMA)
    op.create_index(
        "payout_next_time_idx",
        "payout",
        ["next_time", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN (1, 3)"),
    )
    op.create_index(
        "payout_dead_idx", "payout", ["create_time", "id"], schema=SCHEMA, postgresql_where=sa.text("state = 5")
    )
    op.create_index(
        "payout_open_wallet_idx", "payout", ["wallet"], schema=SCHEMA, postgresql_where=sa.text("state IN (1, 3, 5)")
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE ({CHANGING}) ON {SCHEMA}.payout TO {ROLE}")


def downgrade() -> None:
    """Fails where a payout's end is not known: it would be lost."""
    table = f"{SCHEMA}.payout"
    if op.get_bind().execute(sa.text(f"SELECT EXISTS (SELECT FROM {table} WHERE state IN (1, 3, 5))")).scalar_one():  # noqa: S608 - our name
        raise RuntimeError("there are payouts under way; they would be lost")
    op.drop_table("payout", schema=SCHEMA)
