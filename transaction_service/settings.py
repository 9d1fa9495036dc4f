"""What transaction_service can be told through the environment, as SPECIE_TRANSACTION_*."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Port, ServiceSettings


def providers(text: str) -> dict[str, str]:
    """The targets in PAYOUT_PROVIDERS by name. Raises ValueError for a name that comes twice."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    named = {name: target for name, _, target in pairs}
    if len(named) < len(pairs):
        raise ValueError("a payout provider is named twice")
    return named


def _each_named_once(text: str) -> str:
    providers(text)
    return text


PayoutProviders = Annotated[
    str,
    Field(
        pattern=r"^([a-z][a-z0-9-]{0,62}=[^=,]+(,[a-z][a-z0-9-]{0,62}=[^=,]+)*)?$",
        description="Who pays out: NAME=TARGET,NAME=TARGET, with targets as gRPC names them; "
        "the same for the transaction service and the back office",
    ),
    AfterValidator(_each_named_once),
]
WebhookKeysFile = Annotated[
    str,
    Field(
        description="The keys that webhooks' secrets are kept encrypted with (Fernet, one a line: the first encrypts, "
        "all decrypt); empty: there are no webhooks. The same for the transaction service and the back office"
    ),
]
WebhookPrivateNetworks = Annotated[
    bool,
    Field(
        description="Whether webhooks may go to private networks and to this machine, there also over http; "
        "the same for the transaction service and the back office"
    ),
]


class TransactionSettings(ServiceSettings):
    """The environment is read when it is made."""

    model_config = SettingsConfigDict(env_prefix="SPECIE_TRANSACTION_")

    port: Port = Field(default=50061, description="The first worker's port; worker i listens on port + i")
    lanes: int = Field(
        default=1, ge=1, le=16, description="Posting lanes a worker; more workers scale better than more lanes"
    )
    group_max: int = Field(default=1000, ge=1, le=10_000, description="Commands that one commit takes at the most")
    queue_length: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Commands that may wait; beyond it RESOURCE_EXHAUSTED"
    )
    queue_bytes: int = Field(
        default=32 * 2**20, ge=1, description="Bytes of the requests that may wait; beyond it RESOURCE_EXHAUSTED"
    )
    watchers_max: int = Field(
        default=100, ge=0, le=10_000, description="Open streams of WatchTransactions; beyond it RESOURCE_EXHAUSTED"
    )
    reports_max: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="Open streams of ReportEntries and ReadBlocks; beyond it RESOURCE_EXHAUSTED",
    )
    max_pending: int = Field(
        default=100_000,
        ge=0,
        description="ASYNC transfers that may be PENDING in the ledger; beyond it RESOURCE_EXHAUSTED",
    )
    dispatch_seconds: float = Field(
        default=0.2,
        ge=0.01,
        le=5,
        description="How often to look for ASYNC transfers that are due, besides at once when this worker took one",
    )
    sweep_seconds: float = Field(default=1, ge=0.01, le=60, description="How often to look for holds that have expired")
    payout_providers: PayoutProviders = ""
    webhook_keys_file: WebhookKeysFile = ""
    webhook_private_networks: WebhookPrivateNetworks = False
