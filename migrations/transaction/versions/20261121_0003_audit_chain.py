"""The audit chain, the index that finds its entries, and guards on everything that is never changed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
DECIDED_STAYS = "transaction_decided_stays"
ASKED_STAYS = "transaction_asked_stays"
ASKED = (
    "id, kind, source, destination, amount, currency, description, external_reference, labels, principal, request_id,"
    " trace_id, fingerprint, create_time, terms, hold, reverses"
)
"""All columns but those in which a PENDING one gets its outcome."""


def upgrade() -> None:
    _create_block()
    _index_entries()
    _refuse_changes()


def _create_block() -> None:
    op.create_table(
        "block",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False, comment="1, 2, 3, ... without gaps"),
        sa.Column(
            "until_xid", sa.BigInteger, nullable=False, comment="the place in the feed up to which it has sealed"
        ),
        sa.Column("until_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("ids", sa.LargeBinary, nullable=False, comment="of its transactions in its order, 16 bytes each"),
        sa.Column("leaves", sa.LargeBinary, nullable=False, comment="of the Merkle tree, 32 bytes each"),
        sa.Column("header", sa.Text, nullable=False, comment="what is hashed and signed: audit_chain.header"),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the header"),
        sa.Column("signature", sa.LargeBinary, nullable=False, comment="Ed25519 over the header"),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("seal_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("number", name="block_pkey"),
        sa.CheckConstraint("number >= 1", name=op.f("block_number")),
        sa.CheckConstraint(
            "length(ids) > 0 AND length(ids) * 2 = length(leaves) AND length(leaves) % 32 = 0",
            name=op.f("block_leaves"),
        ),
        schema=SCHEMA,
    )
    op.create_index("block_until_idx", "block", ["until_xid", "until_id"], schema=SCHEMA)
    for column in ("ids", "leaves"):
        # Hashes cannot be compressed.
        op.execute(f"ALTER TABLE {SCHEMA}.block ALTER COLUMN {column} SET STORAGE EXTERNAL")
    op.create_table(
        "seal_key",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("public_key", sa.Text, nullable=False, comment="PEM"),
        sa.Column("create_time", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="seal_key_pkey"),
        schema=SCHEMA,
    )
    for table in ("block", "seal_key"):
        op.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.{table} TO {ROLE}")


def _index_entries() -> None:
    """Entries are appended in the order of their post times, so an index of block ranges finds those of a second.

    What was written since the last VACUUM is not in it yet and would be read whole each time. Only the owner may put it
    in, so the service does it by this function: the ranges that are full, behind the one that was done last; the result
    is the last one that is done now. It gives way to a VACUUM, which does the same, before PostgreSQL would end that
    for its sake (deadlock_timeout)."""
    op.create_index("entry_post_time_idx", "entry", ["post_time"], schema=SCHEMA, postgresql_using="brin")
    op.execute(f"""
        CREATE FUNCTION {SCHEMA}.summarize_entries(done bigint) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '50ms' AS $$
        DECLARE
            range_pages CONSTANT bigint := 128;  -- PostgreSQL's default for an index of block ranges
            page_bytes CONSTANT bigint := current_setting('block_size')::bigint;
            full_ranges CONSTANT bigint := pg_relation_size('{SCHEMA}.entry') / page_bytes / range_pages;
        BEGIN
            -- Older ones than some 100 MB are left to VACUUM: a call must not take long.
            FOR number IN greatest(done + 1, full_ranges - 100) .. full_ranges - 1 LOOP
                PERFORM brin_summarize_range('{SCHEMA}.entry_post_time_idx', number * range_pages);
            END LOOP;
            RETURN full_ranges - 1;
        EXCEPTION WHEN lock_not_available THEN
            RETURN done;
        END $$
    """)
    op.execute(f"REVOKE ALL ON FUNCTION {SCHEMA}.summarize_entries(bigint) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SCHEMA}.summarize_entries(bigint) TO {ROLE}")


def _refuse_changes() -> None:
    """Also to the tables' owner: who wants to change the record must first take the guard away, for all to see."""
    op.execute(f"""
        CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
        BEGIN
            RAISE EXCEPTION '%.% is a record: nothing in it is changed or deleted', TG_TABLE_SCHEMA, TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    for table in ("entry", "block", "seal_key"):
        op.execute(f"""
            CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.{table}
            FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
        """)
    op.execute(f"""
        CREATE TRIGGER transaction_stays BEFORE DELETE OR TRUNCATE ON {SCHEMA}.transaction
        FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """)
    op.execute(f"""
        CREATE TRIGGER {ASKED_STAYS} BEFORE UPDATE OF {ASKED} ON {SCHEMA}.transaction
        FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """)
    op.execute(f"""
        CREATE TRIGGER {DECIDED_STAYS} BEFORE UPDATE ON {SCHEMA}.transaction
        FOR EACH ROW WHEN (old.state <> 3) EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """)


def downgrade() -> None:
    """The blocks are lost; the transactions stay."""
    for trigger, table in (
        ("entry_stays", "entry"),
        ("transaction_stays", "transaction"),
        (ASKED_STAYS, "transaction"),
        (DECIDED_STAYS, "transaction"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {SCHEMA}.{table}")
    op.drop_table("seal_key", schema=SCHEMA)
    op.drop_table("block", schema=SCHEMA)
    op.execute(f"DROP FUNCTION {SCHEMA}.refuse_change()")
    op.execute(f"DROP FUNCTION {SCHEMA}.summarize_entries(bigint)")
    op.drop_index("entry_post_time_idx", "entry", schema=SCHEMA)
