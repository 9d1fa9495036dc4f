"""Who did what to which wallet, for good."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "wallets"
ROLE = "specie_wallet"


def upgrade() -> None:
    op.create_table(
        "act",
        sa.Column("subject", sa.Text(collation="C"), nullable=False, comment="the wallet's name"),
        sa.Column(
            "number", sa.BigInteger, nullable=False, autoincrement=False, comment="the wallet's revision since it"
        ),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("before", postgresql.JSONB, nullable=False, comment="by field, only what changed"),
        sa.Column("after", postgresql.JSONB, nullable=False, comment="as before"),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
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
        CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
        BEGIN
            RAISE EXCEPTION '%.% is a record: nothing in it is changed or deleted', TG_TABLE_SCHEMA, TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER act_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.act
        FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """)
    op.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.act TO {ROLE}")


def downgrade() -> None:
    """Fails where there are acts: they would be lost."""
    if op.get_bind().execute(sa.text(f"SELECT EXISTS (SELECT FROM {SCHEMA}.act)")).scalar_one():  # noqa: S608 - our name
        raise RuntimeError("there are acts on record; they would be lost")
    op.drop_table("act", schema=SCHEMA)
    op.execute(f"DROP FUNCTION {SCHEMA}.refuse_change()")
