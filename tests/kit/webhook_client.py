"""Webhooks as a running service has them: the keys that it shares with the back office, and a client of its calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from cryptography.fernet import Fernet
from specie.transaction.v1 import (
    CreateWebhookEndpointRequest,
    GetWebhookEndpointRequest,
    ListWebhookDeliveriesRequest,
    WebhookEndpoint,
    WebhookServiceStub,
)

from tests.kit.calls import CALL_SECONDS
from tests.kit.tokens import Authorised


def shared_settings(folder: Path) -> dict[str, object]:
    """Of transaction_service and the back office alike: keys, and receivers on this machine."""
    keys = folder / "webhook.keys"
    if not keys.exists():
        keys.write_bytes(Fernet.generate_key())
    return {"WEBHOOK_KEYS_FILE": keys, "WEBHOOK_PRIVATE_NETWORKS": True}


class WebhookClient:
    """One connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.calls: Any = Authorised(WebhookServiceStub(channel))

    async def create(self, url: str, **wish: Any) -> tuple[WebhookEndpoint, str]:  # noqa: ANN401
        """The endpoint and its secret."""
        request = CreateWebhookEndpointRequest(endpoint=WebhookEndpoint(url=url, **wish))
        answer = await self.calls.CreateWebhookEndpoint(request, timeout=CALL_SECONDS)
        return answer.endpoint, answer.secret

    async def get(self, name: str) -> WebhookEndpoint:
        answer = await self.calls.GetWebhookEndpoint(GetWebhookEndpointRequest(name=name), timeout=CALL_SECONDS)
        endpoint: WebhookEndpoint = answer.endpoint
        return endpoint

    async def deliveries(self, endpoint: str, **filters: Any) -> list[Any]:  # noqa: ANN401
        """The first 1,000."""
        request = ListWebhookDeliveriesRequest(endpoint=endpoint, page_size=1000, **filters)
        answer = await self.calls.ListWebhookDeliveries(request, timeout=CALL_SECONDS)
        return list(answer.deliveries)


@asynccontextmanager
async def webhook_client(target: str) -> AsyncIterator[WebhookClient]:
    async with grpc.aio.insecure_channel(target) as channel:
        yield WebhookClient(channel)
