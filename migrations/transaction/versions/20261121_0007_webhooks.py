"""Webhooks: who is told what, and what is on its way."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", ID, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text), nullable=False, comment="empty: all"),
        sa.Column("wallet", sa.Text, nullable=False, comment="empty: all"),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 ENABLED, 2 DISABLED"),
        sa.Column("disabled_reason", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False, comment="encrypted (Fernet)"),
        sa.Column("old_secret", sa.Text, nullable=False, comment="encrypted; empty: none"),
        sa.Column("old_secret_until", TIME, comment="until then events are signed with it, too"),
        sa.Column(
            "position_xid", sa.BigInteger, nullable=False, comment="the place in the feed up to which it is taken"
        ),
        sa.Column("position_id", ID, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False, comment="grows whenever somebody changes it"),
        sa.Column("courier", sa.Text, nullable=False, comment="who sends its events; empty: nobody"),
        sa.Column("claimed_until", TIME, comment="until then it is the courier's"),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("update_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="webhook_endpoint_pkey"),
        sa.CheckConstraint("state BETWEEN 1 AND 2", name=op.f("webhook_endpoint_state")),
        schema=SCHEMA,
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", ID, nullable=False, comment="derived from the endpoint and the event"),
        sa.Column("endpoint_id", ID, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False, comment="sent as webhook-id"),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("wallets", postgresql.ARRAY(sa.Text), nullable=False, comment="within which it keeps its turn"),
        sa.Column("xid", sa.BigInteger, nullable=False, comment="its place in the order of commits"),
        sa.Column("mark_id", ID, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 PENDING, 2 DELIVERED"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_attempt_time", TIME, comment="of those since it was new or sent once more"),
        sa.Column("next_time", TIME, comment="null: it is delivered"),
        sa.Column("last_status", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("deliver_time", TIME),
        sa.PrimaryKeyConstraint("id", name="webhook_delivery_pkey"),
        sa.CheckConstraint("(state = 1) = (next_time IS NOT NULL)", name=op.f("webhook_delivery_due")),
        schema=SCHEMA,
    )
    op.create_index(
        "webhook_delivery_pending_idx",
        "webhook_delivery",
        ["endpoint_id", "xid", "mark_id", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "webhook_delivery_endpoint_idx",
        "webhook_delivery",
        ["endpoint_id", "create_time", "xid", "mark_id"],
        schema=SCHEMA,
    )
    for table in ("webhook_endpoint", "webhook_delivery"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{table} TO {ROLE}")


def downgrade() -> None:
    op.drop_table("webhook_delivery", schema=SCHEMA)
    op.drop_table("webhook_endpoint", schema=SCHEMA)
