"""How far the integrity check has come, and what it has found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)
BEGINNING = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    integrity = op.create_table(
        "integrity",
        sa.Column("name", sa.Text, nullable=False, comment="`ledger`: it has one row"),
        sa.Column(
            "until_xid", sa.BigInteger, nullable=False, comment="the place in the feed up to which it has looked"
        ),
        sa.Column("until_id", ID, nullable=False),
        sa.Column(
            "checked_entries", sa.BigInteger, nullable=False, comment="how many it has looked at on its way there"
        ),
        sa.Column("check_time", TIME, comment="when it last looked at what is new"),
        sa.Column("lap_began", TIME, comment="null: none is under way"),
        sa.Column(
            "lap_until", TIME, nullable=False, comment="the lap has been through what was decided up to this time"
        ),
        sa.Column("lap_account", ID, comment="then through the accounts before it; null: it is not there yet"),
        sa.Column("lap_seq", sa.BigInteger, nullable=False, comment="of that account, through its entries up to it"),
        sa.Column("lap_entries", sa.BigInteger, nullable=False, comment="entries that it has been through so far"),
        sa.Column("lap_rest_until", TIME, comment="it does not go on before"),
        sa.Column("lap_time", TIME, comment="when a lap last ended"),
        sa.Column("lap_seconds", sa.Double, nullable=False, comment="how long that lap took, rests included"),
        sa.Column("findings", postgresql.JSONB, nullable=False, comment="what does not hold, the oldest first"),
        sa.PrimaryKeyConstraint("name", name="integrity_pkey"),
        schema=SCHEMA,
    )
    op.bulk_insert(
        integrity,
        [
            {
                "name": "ledger",
                "until_xid": 0,
                "until_id": BEGINNING,
                "checked_entries": 0,
                "lap_until": "-infinity",
                "lap_seq": 0,
                "lap_entries": 0,
                "lap_seconds": 0,
                "findings": [],
            }
        ],
    )
    op.execute(f"GRANT SELECT, UPDATE ON {SCHEMA}.integrity TO {ROLE}")


def downgrade() -> None:
    op.drop_table("integrity", schema=SCHEMA)
