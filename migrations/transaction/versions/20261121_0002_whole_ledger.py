"""Pending transactions, compound ones and reversals; holds; one listing by account and label; the feed's index."""

from hashlib import blake2b

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "transactions"
ROLE = "specie_transaction"
TIME = sa.DateTime(timezone=True)
ID = sa.Uuid(as_uuid=False)
OPEN = sa.text("state = 1")
POSTED = 1


def upgrade() -> None:
    _widen_transaction()
    _create_listing()
    _create_hold()
    _create_pending()
    _guard_decided()
    _fill_listing()


def _widen_transaction() -> None:
    op.drop_constraint("transaction_posted_has_time", "transaction", schema=SCHEMA)
    op.alter_column("transaction", "post_time", new_column_name="decide_time", schema=SCHEMA)
    op.execute(f"UPDATE {SCHEMA}.transaction SET decide_time = create_time WHERE decide_time IS NULL")  # noqa: S608 - our own name
    op.alter_column(
        "transaction",
        "decide_time",
        nullable=False,
        comment="post time if POSTED; PENDING: create time",
        schema=SCHEMA,
    )
    comments = {
        "kind": "TransactionKind of the contract",
        "state": "1 POSTED, 2 FAILED, 3 PENDING",
        "source": "account name; it need not exist if FAILED; empty: see terms",
        "amount": "minor units; 0 where the postings in terms say it all",
        "xid": "the transaction that wrote its state: commit order for whoever follows the ledger",
    }
    for column, comment in comments.items():
        op.alter_column("transaction", column, comment=comment, schema=SCHEMA)
    op.add_column(
        "transaction",
        sa.Column(
            "terms",
            postgresql.JSONB,
            comment="what it asks for beyond one amount: fee, postings, conditions, times; null: nothing",
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "transaction",
        sa.Column("hold", ID, comment="the hold that it placed, captured, released or expired"),
        schema=SCHEMA,
    )
    op.add_column("transaction", sa.Column("reverses", ID, comment="the transaction that it gives back"), schema=SCHEMA)
    op.drop_constraint("transaction_amount", "transaction", schema=SCHEMA)
    op.create_check_constraint(
        op.f("transaction_amount"), "transaction", "amount > 0 OR (amount = 0 AND kind IN (4, 5))", schema=SCHEMA
    )
    for index in ("create_time", "external_reference", "unposted_source", "unposted_destination"):
        op.drop_index(f"transaction_{index}_idx", "transaction", schema=SCHEMA)
    op.create_index("transaction_decide_time_idx", "transaction", ["decide_time", "id"], schema=SCHEMA)
    op.create_index(
        "transaction_external_reference_idx",
        "transaction",
        ["external_reference", "decide_time", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("external_reference <> ''"),
    )
    op.create_index("transaction_feed_idx", "transaction", ["xid", "id"], schema=SCHEMA)
    op.create_index(
        "transaction_reverses_idx",
        "transaction",
        ["reverses"],
        schema=SCHEMA,
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )


def _create_listing() -> None:
    op.create_table(
        "listing",
        sa.Column("key", ID, nullable=False, comment="id of an account or a label"),
        sa.Column("decide_time", TIME, nullable=False, comment="the transaction's"),
        sa.Column("transaction_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("key", "decide_time", "transaction_id", name="listing_pkey"),
        schema=SCHEMA,
        comment="transactions by the accounts that they name without an entry, and by label",
    )
    op.execute(f"GRANT SELECT, INSERT, DELETE ON {SCHEMA}.listing TO {ROLE}")


def _create_hold() -> None:
    op.create_table(
        "hold",
        sa.Column("id", ID, nullable=False, comment="that of the transaction that placed it"),
        sa.Column("state", sa.SmallInteger, nullable=False, comment="1 OPEN, 2 CAPTURED, 3 RELEASED, 4 EXPIRED"),
        sa.Column("source", sa.Text, nullable=False, comment="account name; its row lock guards this row"),
        sa.Column("destination", sa.Text, nullable=False, comment="account name"),
        sa.Column("amount", sa.BigInteger, nullable=False, comment="minor units; what it reserved at first"),
        sa.Column("captured", sa.BigInteger, nullable=False, comment="minor units"),
        sa.Column("released", sa.BigInteger, nullable=False, comment="minor units"),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("expire_time", TIME, nullable=False),
        sa.Column("create_time", TIME, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("external_reference", sa.Text, nullable=False),
        sa.Column("labels", postgresql.JSONB, nullable=False),
        sa.Column("claimed_until", TIME, comment="until then its expiry is some worker's work"),
        sa.PrimaryKeyConstraint("id", name="hold_pkey"),
        sa.CheckConstraint("amount > 0 AND captured >= 0 AND released >= 0", name=op.f("hold_amounts")),
        sa.CheckConstraint("captured + released <= amount", name=op.f("hold_never_above")),
        sa.CheckConstraint("(state = 1) = (captured + released < amount)", name=op.f("hold_open_has_rest")),
        schema=SCHEMA,
    )
    op.create_index("hold_create_time_idx", "hold", ["create_time", "id"], schema=SCHEMA)
    op.create_index("hold_source_idx", "hold", ["source", "create_time", "id"], schema=SCHEMA)
    op.create_index("hold_destination_idx", "hold", ["destination", "create_time", "id"], schema=SCHEMA)
    for name, columns in {
        "create_time": ["create_time", "id"],
        "source": ["source", "create_time", "id"],
        "destination": ["destination", "create_time", "id"],
        "reference": ["external_reference", "create_time", "id"],
        "expire_time": ["expire_time", "id"],
    }.items():
        op.create_index(f"hold_open_{name}_idx", "hold", columns, schema=SCHEMA, postgresql_where=OPEN)
    op.execute(f"GRANT SELECT, INSERT ON {SCHEMA}.hold TO {ROLE}")
    op.execute(f"GRANT UPDATE (state, captured, released, claimed_until) ON {SCHEMA}.hold TO {ROLE}")
    # What has ended is never changed.
    op.execute(f"ALTER TABLE {SCHEMA}.hold ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY all_are_read ON {SCHEMA}.hold FOR SELECT TO {ROLE} USING (true)")
    op.execute(f"CREATE POLICY all_are_added ON {SCHEMA}.hold FOR INSERT TO {ROLE} WITH CHECK (true)")
    op.execute(
        f"CREATE POLICY open_are_changed ON {SCHEMA}.hold FOR UPDATE TO {ROLE} USING (state = 1) WITH CHECK (true)"
    )


def _create_pending() -> None:
    op.create_table(
        "pending",
        sa.Column("id", ID, nullable=False, comment="a PENDING transaction's"),
        sa.Column("execute_time", TIME, nullable=False, comment="not to be posted before"),
        sa.Column("claimed_until", TIME, comment="until then it is some worker's work"),
        sa.PrimaryKeyConstraint("id", name="pending_pkey"),
        schema=SCHEMA,
    )
    op.create_index("pending_execute_time_idx", "pending", ["execute_time", "id"], schema=SCHEMA)
    op.execute(f"GRANT SELECT, INSERT, DELETE, UPDATE (claimed_until) ON {SCHEMA}.pending TO {ROLE}")


def _guard_decided() -> None:
    """What was decided is never changed: the role may update only what is PENDING, and of that only the outcome."""
    table = f"{SCHEMA}.transaction"
    outcome = "state, failure_reason, failure_metadata, decide_time, xid"
    op.execute(f"GRANT UPDATE ({outcome}) ON {table} TO {ROLE}")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY all_are_read ON {table} FOR SELECT TO {ROLE} USING (true)")
    op.execute(f"CREATE POLICY all_are_added ON {table} FOR INSERT TO {ROLE} WITH CHECK (true)")
    op.execute(f"CREATE POLICY pending_are_decided ON {table} FOR UPDATE TO {ROLE} USING (state = 3) WITH CHECK (true)")


def _fill_listing() -> None:
    """Under the ids that the service derives for what is there already."""
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(
            f"SELECT id::text, decide_time, state, source, destination, labels FROM {SCHEMA}.transaction"  # noqa: S608 - our name
            " WHERE state <> 1 OR labels <> '{}'"
        ).execution_options(stream_results=True)
    )
    listed = sa.text(f"INSERT INTO {SCHEMA}.listing VALUES (:key, :time, :id) ON CONFLICT DO NOTHING")  # noqa: S608 - as above
    for row in rows.partitions(1000):
        values = [
            {"key": key, "time": time, "id": id_}
            for id_, time, state, source, destination, labels in row
            for key in [
                *(_derived(name) for name in ((source, destination) if state != POSTED else ())),
                *(_derived("label", *label) for label in labels.items()),
            ]
        ]
        if values:
            connection.execute(listed, values)


def _derived(*parts: str) -> str:
    """As transaction_service.domain.identity, which may change without changing what was done here."""
    encoded = [part.encode() for part in parts]
    return blake2b(b"".join(b"%d:%b" % (len(part), part) for part in encoded), digest_size=16).hexdigest()


def downgrade() -> None:
    """Fails where there is what the ledger before could not keep: PENDING transactions, holds, fees and the like."""
    table = f"{SCHEMA}.transaction"
    newer = op.get_bind().execute(
        sa.text(
            f"SELECT EXISTS (SELECT FROM {table} WHERE state = 3 OR kind > 3 OR terms IS NOT NULL)"  # noqa: S608 - our name
            f" OR EXISTS (SELECT FROM {SCHEMA}.hold) OR EXISTS (SELECT FROM {SCHEMA}.pending)"
        )
    )
    if newer.scalar_one():
        raise RuntimeError(
            "there are holds, pending transfers, fees, reversals or compound transactions; they would be lost"
        )
    for policy in ("all_are_read", "all_are_added", "pending_are_decided"):
        op.execute(f"DROP POLICY {policy} ON {table}")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute(f"REVOKE UPDATE ON {table} FROM {ROLE}")
    for name in ("pending", "hold", "listing"):
        op.drop_table(name, schema=SCHEMA)
    for index in ("reverses", "feed", "external_reference", "decide_time"):
        op.drop_index(f"transaction_{index}_idx", "transaction", schema=SCHEMA)
    for column in ("terms", "hold", "reverses"):
        op.drop_column("transaction", column, schema=SCHEMA)
    op.drop_constraint("transaction_amount", "transaction", schema=SCHEMA)
    op.create_check_constraint(op.f("transaction_amount"), "transaction", "amount > 0", schema=SCHEMA)
    op.alter_column(
        "transaction", "decide_time", nullable=True, new_column_name="post_time", comment=None, schema=SCHEMA
    )
    op.execute(f"UPDATE {table} SET post_time = NULL WHERE state <> 1")  # noqa: S608 - our own name
    op.create_check_constraint(
        op.f("transaction_posted_has_time"), "transaction", "(state = 1) = (post_time IS NOT NULL)", schema=SCHEMA
    )
    comments = {
        "kind": "1 TRANSFER, 2 DEPOSIT, 3 WITHDRAWAL",
        "state": "1 POSTED, 2 FAILED",
        "source": "account name; it need not exist if FAILED",
        "amount": "minor units",
        "xid": "the writing transaction's id: commit order for whoever follows the ledger; it cannot be had later",
    }
    for column, comment in comments.items():
        op.alter_column("transaction", column, comment=comment, schema=SCHEMA)
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
