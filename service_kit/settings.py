"""What the processes of both services can be told through the environment."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

Port = Annotated[int, Field(ge=1, le=65535)]
PortOrOff = Annotated[int, Field(ge=0, le=65535)]


class ProcessSettings(BaseSettings):
    """What every process takes. Each adds its prefix and what is its own."""

    database_dsn: SecretStr = Field(
        description="Where the service's schema is, as the service's own role: postgresql://role:password@host:port/name"
    )
    host: str = Field(default="127.0.0.1", description="The address to listen on")
    port: Port = Field(description="The port to listen on")
    metrics_port: PortOrOff = Field(
        default=0, description="The first worker's port for Prometheus, on the same address; 0: none"
    )
    tls_certificate_file: str = Field(
        default="", description="The service's certificate, for mutual TLS with the gateway and among the services"
    )
    tls_key_file: str = Field(default="", description="The certificate's key")
    tls_ca_file: str = Field(
        default="", description="The authority of all certificates of the inner network; these three or none: plain"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least level logged"
    )
    read_threads: int = Field(default=4, ge=1, le=64, description="How many database calls run at once beside posting")
    read_queue_length: int = Field(
        default=256, ge=1, le=100_000, description="How many more may wait; beyond it RESOURCE_EXHAUSTED"
    )
    statement_timeout_seconds: float = Field(
        default=10, ge=0.01, le=600, description="After this long PostgreSQL ends a statement"
    )
    shutdown_grace_seconds: float = Field(
        default=10, ge=0, le=600, description="How long calls that were accepted may take to end"
    )

    @field_validator("database_dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        """Told at start, and without the DSN, which has a password in it."""
        if not dsn.get_secret_value().startswith("postgresql://"):
            raise ValueError("must have the form postgresql://role:password@host:port/name")
        return dsn

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        files = (self.tls_certificate_file, self.tls_key_file, self.tls_ca_file)
        if any(files) and not all(files):
            raise ValueError("set all three of TLS_CERTIFICATE_FILE, TLS_KEY_FILE and TLS_CA_FILE, or none")
        return self

    def sqlalchemy_url(self) -> str:
        """The DSN in SQLAlchemy's form; `postgresql://` alone means psycopg 3 to it."""
        return self.database_dsn.get_secret_value().replace("postgresql://", "postgresql+psycopg2://", 1)


class ServiceSettings(ProcessSettings):
    """Of a process that answers calls. Each service adds its prefix, its port and what is its own."""

    workers: int = Field(default=1, ge=1, le=64, description="How many processes serve, each on a port of its own")
    worker_index: int = Field(
        default=0, ge=0, le=63, description="Which of the workers this process is; set by the parent"
    )
    probe_port: PortOrOff = Field(
        default=0,
        description="The first worker's port for grpc.health.v1 alone, never with TLS, on the same address; 0: none",
    )
    auth_issuer: str = Field(min_length=1, description="Who issues the tokens that callers show: their claim iss")
    auth_audience: str = Field(default="specie", min_length=1, description="Whom tokens are for: their claim aud")
    auth_jwks: str = Field(
        min_length=1,
        description="The issuer's public keys (JSON Web Key Set): a file, or a URL that begins with http:// or https://",
    )
    auth_max_lifetime_seconds: int = Field(
        default=86_400, ge=1, description="Tokens that live longer, from iat to exp, are refused"
    )
    reflection: bool = Field(default=False, description="Whether grpc.reflection tells the contract")
    shutdown_notice_seconds: float = Field(
        default=3, ge=0, le=600, description="How long the service says NOT_SERVING before it stops taking calls"
    )
