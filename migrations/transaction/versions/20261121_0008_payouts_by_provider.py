"""Payouts are claimed provider by provider."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "transactions"


def upgrade() -> None:
    op.create_index(
        "payout_provider_idx",
        "payout",
        ["provider", "next_time", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN (1, 3)"),
    )


def downgrade() -> None:
    op.drop_index("payout_provider_idx", "payout", schema=SCHEMA)
