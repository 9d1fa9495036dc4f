"""Administrative acts on payouts and webhook endpoints, and events that are no transactions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "act",
        sa.Column("subject", sa.Text(collation="C"), nullable=False, comment="payouts/{uuid}, webhookEndpoints/{uuid}"),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False, comment="of the subject: 1, 2, 3, ..."),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSONB, nullable=False, comment="by field, only what changed"),
        sa.Column("after", postgresql.JSONB, nullable=False, comment="as before"),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("subject", "number", name="act_pkey"),
        sa.CheckConstraint("number >= 1", name=op.f("act_number")),
        schema=SCHEMA,
    )
    op.create_index("act_create_time_idx", "act", ["create_time", "subject", "number"], schema=SCHEMA)
    op.create_index("act_principal_idx", "act", ["principal", "create_time", "subject", "number"], schema=SCHEMA)
    op.create_index(
        "act_trace_id_idx",
        "act",
        ["trace_id", "create_time", "subject", "number"],
        schema=SCHEMA,
        postgresql_where=sa.text("trace_id <> ''"),
    )
    op.execute(f"""
        CREATE TRIGGER act_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.act
        FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """)
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("type", sa.Text, nullable=False, comment="payout.paid and the like"),
        sa.Column("subject", sa.Text, nullable=False, comment="payouts/{uuid}, webhookEndpoints/{uuid}"),
        sa.Column("wallet", sa.Text, nullable=False, comment="the wallet that it names; empty: none"),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column(
            "xid",
            sa.BigInteger,
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
            comment="the transaction that wrote it: its place in the order of commits",
        ),
        sa.PrimaryKeyConstraint("id", name="event_pkey"),
        schema=SCHEMA,
    )
    op.create_index("event_feed_idx", "event", ["xid", "id"], schema=SCHEMA)
    for table in ("act", "event"):
        op.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.{table} TO {ROLE}")


def downgrade() -> None:
    """Fails where there are acts: they would be lost."""
    if op.get_bind().execute(sa.text(f"SELECT EXISTS (SELECT FROM {SCHEMA}.act)")).scalar_one():  # noqa: S608 - our name
        raise RuntimeError("there are acts on record; they would be lost")
    op.drop_table("event", schema=SCHEMA)
    op.drop_table("act", schema=SCHEMA)
