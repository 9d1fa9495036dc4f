"""What the wallet service can be told through the environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Port, ServiceSettings


class WalletSettings(ServiceSettings):
    """Every name in the environment begins with SPECIE_WALLET_."""

    model_config = SettingsConfigDict(env_prefix="SPECIE_WALLET_")

    port: Port = Field(default=50051, description="The first worker's port; worker i listens on port + i")
    transaction_target: str = Field(
        default="ipv4:127.0.0.1:50061",
        min_length=1,
        description="The transaction service as a gRPC target: ipv4:HOST:PORT,HOST:PORT or dns:///NAME:PORT",
    )
    service_token_file: Path = Field(
        description="Where the service's own token is, with the scope `service`; read again when the file changes"
    )
    reconcile_seconds: float = Field(
        default=5, gt=0, le=3600, description="How often to look for wallets that something left half done"
    )
