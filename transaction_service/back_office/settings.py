"""What the back office can be told through the environment, as SPECIE_BACK_OFFICE_*."""

from typing import Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Port, ProcessSettings
from transaction_service.settings import PayoutProviders, WebhookKeysFile, WebhookPrivateNetworks

THREE_DAYS: Final = 3 * 86_400


class BackOfficeSettings(ProcessSettings):
    """The environment is read when it is made."""

    model_config = SettingsConfigDict(env_prefix="SPECIE_BACK_OFFICE_")

    port: Port = Field(default=50081, description="The port for grpc.health.v1, never with TLS")
    seal_key_file: str = Field(
        default="",
        description="The Ed25519 key, in PEM, that signs the blocks of the audit chain; empty: none are made",
    )
    seal_seconds: float = Field(
        default=1, ge=0.05, le=3600, description="How long a transaction waits at the most to be sealed"
    )
    integrity_seconds: float = Field(
        default=1, ge=0.05, le=30, description="How often the integrity check looks at what is new"
    )
    integrity_lap_seconds: float = Field(
        default=600,
        ge=0.05,
        le=31 * 86_400,
        description="How often it begins to go through the whole ledger; on a large one it takes longer than that",
    )
    payout_providers: PayoutProviders = ""
    payout_attempts_max: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="After so many calls in a row that told nothing a payout is DEAD, until an operator retries it",
    )
    payout_first_pause_seconds: float = Field(
        default=1,
        ge=0.01,
        le=3600,
        description="The longest pause before the second call for a payout; it doubles with each call, and chance "
        "shortens it",
    )
    payout_pause_seconds_max: float = Field(
        default=600, ge=0.01, le=86_400, description="The longest pause between two calls for a payout"
    )
    payout_timeout_seconds: float = Field(
        default=10, ge=0.1, le=300, description="How long one call of a payout provider may take"
    )
    webhook_keys_file: WebhookKeysFile = ""
    webhook_private_networks: WebhookPrivateNetworks = False
    webhook_sends_per_second: float = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Webhooks that one back office sends a second at the most: more would take processors from posting",
    )
    webhook_timeout_seconds: float = Field(
        default=15, ge=0.1, le=300, description="How long a webhook's receiver may take to answer"
    )
    webhook_first_pause_seconds: float = Field(
        default=5,
        ge=0.01,
        le=3600,
        description="Before a webhook is sent again; each pause is three times the one before",
    )
    webhook_pause_seconds_max: float = Field(
        default=6 * 3600, ge=0.01, le=86_400, description="The longest pause before a webhook is sent again"
    )
    webhook_give_up_seconds: float = Field(
        default=THREE_DAYS,
        ge=0.1,
        description="A webhook endpoint that took nothing of an event for so long is disabled",
    )
    webhook_keep_days: int = Field(
        default=30, ge=1, le=3650, description="How long deliveries that were taken stay listed"
    )
