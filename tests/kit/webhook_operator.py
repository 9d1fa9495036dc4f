"""WebhookService as somebody calls it who may, or may not."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from specie.transaction.v1 import (
    CreateWebhookEndpointRequest,
    DeleteWebhookEndpointRequest,
    DisableWebhookEndpointRequest,
    EnableWebhookEndpointRequest,
    GetWebhookEndpointRequest,
    ListWebhookDeliveriesRequest,
    RedeliverWebhookRequest,
    ReplayWebhookEndpointRequest,
    RotateWebhookSecretRequest,
    UpdateWebhookEndpointRequest,
    WebhookEndpoint,
    WebhookServiceStub,
)

from tests.kit.calls import Client, connected
from tests.kit.tokens import USUAL, Authorised

HERE = "http://127.0.0.1:8443/hooks"
ADDRESS = "https://1.1.1.1/hooks"
"""Of the Internet, and looked up by nobody."""


class Operator:
    """WebhookService, called by somebody who may."""

    def __init__(self, client: Client, header: tuple[str, str]) -> None:
        self.client = client
        self.calls: Any = Authorised(WebhookServiceStub(client.channel), header)

    def create(self, url: str = HERE, **more: Any) -> Any:  # noqa: ANN401 - any field
        return self.calls.CreateWebhookEndpoint(CreateWebhookEndpointRequest(endpoint=WebhookEndpoint(url=url, **more)))

    def update(self, name: str, mask: Sequence[str], **values: Any) -> Any:  # noqa: ANN401 - as above
        endpoint = WebhookEndpoint(name=name, **values)
        return self.calls.UpdateWebhookEndpoint(
            UpdateWebhookEndpointRequest(endpoint=endpoint, update_mask=FieldMask(paths=mask))
        )

    async def get(self, name: str) -> WebhookEndpoint:
        found: WebhookEndpoint = (await self.calls.GetWebhookEndpoint(GetWebhookEndpointRequest(name=name))).endpoint
        return found

    def replay(self, name: str, cursor: str = "") -> Any:  # noqa: ANN401 - as above
        return self.calls.ReplayWebhookEndpoint(ReplayWebhookEndpointRequest(name=name, cursor=cursor))

    def deliveries(self, name: str, **more: Any) -> Any:  # noqa: ANN401 - as above
        return self.calls.ListWebhookDeliveries(ListWebhookDeliveriesRequest(endpoint=name, **more))

    def redeliver(self, name: str) -> Any:  # noqa: ANN401 - as above
        return self.calls.RedeliverWebhook(RedeliverWebhookRequest(name=name))


@asynccontextmanager
async def operating(target: str, header: tuple[str, str] = USUAL) -> AsyncIterator[Operator]:
    async with connected(target) as client:
        yield Operator(client, header)


def on_endpoints(operator: Operator, name: str) -> dict[str, Callable[[], Any]]:
    """Every call on one endpoint."""
    calls = operator.calls
    return {
        "get": lambda: calls.GetWebhookEndpoint(GetWebhookEndpointRequest(name=name)),
        "update": lambda: operator.update(name, ["description"], description="x"),
        "delete": lambda: calls.DeleteWebhookEndpoint(DeleteWebhookEndpointRequest(name=name)),
        "rotate": lambda: calls.RotateWebhookSecret(RotateWebhookSecretRequest(name=name)),
        "enable": lambda: calls.EnableWebhookEndpoint(EnableWebhookEndpointRequest(name=name)),
        "disable": lambda: calls.DisableWebhookEndpoint(DisableWebhookEndpointRequest(name=name)),
        "replay": lambda: operator.replay(name),
        "deliveries": lambda: operator.deliveries(name),
    }
