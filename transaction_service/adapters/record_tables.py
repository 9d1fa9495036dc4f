"""The tables of schema `transactions` around the ledger: its record, and the work for the outside."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from service_kit.act_table import act_table
from transaction_service.adapters import tables

metadata: Final = tables.metadata
"""Of the whole schema: this module has put its own tables into it."""

TIME: Final = DateTime(timezone=True)
ID: Final = Uuid(as_uuid=False)

block = Table(
    "block",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, 3, ... without gaps"),
    Column("until_xid", BigInteger, nullable=False, comment="the place in the feed up to which it has sealed"),
    Column("until_id", ID, nullable=False),
    Column("ids", LargeBinary, nullable=False, comment="of its transactions in its order, 16 bytes each"),
    Column("leaves", LargeBinary, nullable=False, comment="of the Merkle tree, 32 bytes each"),
    Column("header", Text, nullable=False, comment="what is hashed and signed: audit_chain.header"),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 of the header"),
    Column("signature", LargeBinary, nullable=False, comment="Ed25519 over the header"),
    Column("key_id", Text, nullable=False),
    Column("seal_time", TIME, nullable=False),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("length(ids) > 0 AND length(ids) * 2 = length(leaves) AND length(leaves) % 32 = 0", name="leaves"),
    Index("block_until_idx", "until_xid", "until_id"),
)

seal_key = Table(
    "seal_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("public_key", Text, nullable=False, comment="PEM"),
    Column("create_time", TIME, nullable=False),
)

integrity = Table(
    "integrity",
    metadata,
    Column("name", Text, primary_key=True, comment="`ledger`: it has one row"),
    Column("until_xid", BigInteger, nullable=False, comment="the place in the feed up to which it has looked"),
    Column("until_id", ID, nullable=False),
    Column("checked_entries", BigInteger, nullable=False, comment="how many it has looked at on its way there"),
    Column("check_time", TIME, comment="when it last looked at what is new"),
    Column("lap_began", TIME, comment="null: none is under way"),
    Column("lap_until", TIME, nullable=False, comment="the lap has been through what was decided up to this time"),
    Column("lap_account", ID, comment="then through the accounts before it; null: it is not there yet"),
    Column("lap_seq", BigInteger, nullable=False, comment="of that account, through its entries up to it"),
    Column("lap_entries", BigInteger, nullable=False, comment="entries that it has been through so far"),
    Column("lap_rest_until", TIME, comment="it does not go on before"),
    Column("lap_time", TIME, comment="when a lap last ended"),
    Column("lap_seconds", Double, nullable=False, comment="how long that lap took, rests included"),
    Column("findings", JSONB, nullable=False, comment="what does not hold, the oldest first"),
)

act = act_table(metadata, subject="payouts/{uuid}, webhookEndpoints/{uuid}", number="of the subject: 1, 2, 3, ...")

event = Table(
    "event",
    metadata,
    Column("id", ID, primary_key=True),
    Column("type", Text, nullable=False, comment="payout.paid and the like"),
    Column("subject", Text, nullable=False, comment="payouts/{uuid}, webhookEndpoints/{uuid}"),
    Column("wallet", Text, nullable=False, comment="the wallet that it names; empty: none"),
    Column("create_time", TIME, nullable=False),
    Column(
        "xid",
        BigInteger,
        nullable=False,
        server_default=text("pg_current_xact_id()::text::bigint"),
        comment="the transaction that wrote it: its place in the order of commits",
    ),
    Index("event_feed_idx", "xid", "id"),
)

payout = Table(
    "payout",
    metadata,
    Column("id", ID, primary_key=True, comment="that of the withdrawal"),
    Column("state", SmallInteger, nullable=False, comment="1 PENDING, 2 PAID, 3 REFUSED, 4 REVERSED, 5 DEAD"),
    Column("wallet", Text, nullable=False, comment="account name"),
    Column("provider", Text, nullable=False),
    Column("account", Text, nullable=False, comment="where to, in the provider's terms"),
    Column("beneficiary", Text, nullable=False),
    Column("reference", Text, nullable=False, comment="what the beneficiary is told"),
    Column("amount", BigInteger, nullable=False, comment="minor units"),
    Column("currency", Text, nullable=False),
    Column("attempts", Integer, nullable=False, comment="calls of the provider since it was new or retried"),
    Column("failures", Integer, nullable=False, comment="tries in a row that told nothing"),
    Column("taken", Boolean, nullable=False, comment="the provider has it under way"),
    Column("next_time", TIME, comment="when there is something to do; null: nothing is"),
    Column("claimed_until", TIME, comment="until then it is some worker's work"),
    Column("provider_reference", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("reversal", ID, comment="the transaction that gave the money back"),
    Column("reversal_attempts", Integer, nullable=False, comment="reversals that the ledger refused"),
    Column("deaths", Integer, nullable=False, comment="how often it became DEAD"),
    Column("create_time", TIME, nullable=False),
    Column("update_time", TIME, nullable=False),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("state BETWEEN 1 AND 5", name="state"),
    CheckConstraint("(state IN (1, 3)) = (next_time IS NOT NULL)", name="due"),
    CheckConstraint("(state = 4) = (reversal IS NOT NULL)", name="reversed"),
    Index("payout_create_time_idx", "create_time", "id"),
    Index("payout_wallet_idx", "wallet", "create_time", "id"),
    Index("payout_next_time_idx", "next_time", "id", postgresql_where=text("state IN (1, 3)")),
    Index("payout_provider_idx", "provider", "next_time", "id", postgresql_where=text("state IN (1, 3)")),
    Index("payout_dead_idx", "create_time", "id", postgresql_where=text("state = 5")),
    Index("payout_open_wallet_idx", "wallet", postgresql_where=text("state IN (1, 3, 5)")),
)

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", ID, primary_key=True),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False, comment="empty: all"),
    Column("wallet", Text, nullable=False, comment="empty: all"),
    Column("description", Text, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="1 ENABLED, 2 DISABLED"),
    Column("disabled_reason", Text, nullable=False),
    Column("secret", Text, nullable=False, comment="encrypted (Fernet)"),
    Column("old_secret", Text, nullable=False, comment="encrypted; empty: none"),
    Column("old_secret_until", TIME, comment="until then events are signed with it, too"),
    Column("position_xid", BigInteger, nullable=False, comment="the place in the feed up to which it is taken"),
    Column("position_id", ID, nullable=False),
    Column("generation", BigInteger, nullable=False, comment="grows whenever somebody changes it"),
    Column("courier", Text, nullable=False, comment="who sends its events; empty: nobody"),
    Column("claimed_until", TIME, comment="until then it is the courier's"),
    Column("create_time", TIME, nullable=False),
    Column("update_time", TIME, nullable=False),
    CheckConstraint("state BETWEEN 1 AND 2", name="state"),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", ID, primary_key=True, comment="derived from the endpoint and the event"),
    Column("endpoint_id", ID, nullable=False),
    Column("event_id", Text, nullable=False, comment="sent as webhook-id"),
    Column("event_type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("wallets", ARRAY(Text), nullable=False, comment="within which it keeps its turn"),
    Column("xid", BigInteger, nullable=False, comment="its place in the order of commits"),
    Column("mark_id", ID, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="1 PENDING, 2 DELIVERED"),
    Column("attempts", Integer, nullable=False),
    Column("first_attempt_time", TIME, comment="of those since it was new or sent once more"),
    Column("next_time", TIME, comment="null: it is delivered"),
    Column("last_status", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("create_time", TIME, nullable=False),
    Column("deliver_time", TIME),
    CheckConstraint("(state = 1) = (next_time IS NOT NULL)", name="due"),
    Index("webhook_delivery_pending_idx", "endpoint_id", "xid", "mark_id", "id", postgresql_where=text("state = 1")),
    Index("webhook_delivery_endpoint_idx", "endpoint_id", "create_time", "xid", "mark_id"),
)
