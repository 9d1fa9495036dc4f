"""Where something listens."""

import argparse
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal():
            raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def endpoint(self) -> dict[str, object]:
        """As one of a cluster of Envoy's."""
        return {"endpoint": {"address": {"socket_address": {"address": self.host, "port_value": self.port}}}}


def endpoints(addresses: tuple[Address, ...]) -> str:
    """JSON is YAML."""
    return json.dumps([address.endpoint() for address in addresses])
