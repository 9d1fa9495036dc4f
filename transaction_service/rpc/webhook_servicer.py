"""WebhookService: who is told what happens in the ledger."""

from collections.abc import Sequence
from typing import Any, Final

from specie.transaction.v1 import (
    CreateWebhookEndpointRequest,
    CreateWebhookEndpointResponse,
    DeleteWebhookEndpointRequest,
    DeleteWebhookEndpointResponse,
    DisableWebhookEndpointRequest,
    DisableWebhookEndpointResponse,
    EnableWebhookEndpointRequest,
    EnableWebhookEndpointResponse,
    GetWebhookEndpointRequest,
    GetWebhookEndpointResponse,
    ListWebhookDeliveriesRequest,
    ListWebhookDeliveriesResponse,
    ListWebhookEndpointsRequest,
    ListWebhookEndpointsResponse,
    RedeliverWebhookRequest,
    RedeliverWebhookResponse,
    ReplayWebhookEndpointRequest,
    ReplayWebhookEndpointResponse,
    RotateWebhookSecretRequest,
    RotateWebhookSecretResponse,
    UpdateWebhookEndpointRequest,
    UpdateWebhookEndpointResponse,
    WebhookServiceServicer,
)

from service_kit import pages
from service_kit.acts import Actor, actor_of_call
from service_kit.caller import OUR_OWN
from service_kit.status import Refusal, invalid
from transaction_service.ports import Feed, Mark, Position
from transaction_service.rpc.cursors import to_mark
from transaction_service.rpc.webhook_messages import delivery_message, endpoint_message, to_wish
from transaction_service.webhooks.destination import Destinations
from transaction_service.webhooks.endpoint import (
    DELIVERIES,
    ENDPOINTS,
    ENDPOINTS_MAX,
    Delivery,
    DeliveryState,
    Endpoint,
    Wish,
)
from transaction_service.webhooks.ports import Endpoints
from transaction_service.webhooks.secrets import Secrets
from transaction_service.webhooks.types import EventType
from transaction_service.webhooks.update import Field, ImmutableField, UnknownPath, fields, updated

METADATA_LENGTH_MAX: Final = 200
"""Of what a caller sent and is told again: a client refuses long trailers."""


class WebhookServicer(WebhookServiceServicer):
    """Thin: judges what is asked for, and hands it on."""

    def __init__(self, endpoints: Endpoints, destinations: Destinations, secrets: Secrets | None, feed: Feed) -> None:
        """`secrets`: None where no keys are set up: no secret can be made then, and all else works."""
        self._endpoints = endpoints
        self._destinations = destinations
        self._secrets = secrets
        self._feed = feed

    async def CreateWebhookEndpoint(
        self, request: CreateWebhookEndpointRequest, context: Any
    ) -> CreateWebhookEndpointResponse:
        secret, sealed = self._new_secret()
        wish = to_wish(request.endpoint)
        _check_types(wish)
        await self._check_url(wish)
        made = await self._endpoints.create(wish, sealed, await self._feed.end(), _actor())
        if made is None:
            text = f"there are {ENDPOINTS_MAX} webhook endpoints already; delete one that is not needed"
            raise Refusal("TOO_MANY_WEBHOOK_ENDPOINTS", text, {"max_endpoints": str(ENDPOINTS_MAX)})
        return CreateWebhookEndpointResponse(endpoint=endpoint_message(made), secret=secret)

    async def GetWebhookEndpoint(self, request: GetWebhookEndpointRequest, context: Any) -> GetWebhookEndpointResponse:
        found = await self._endpoints.get(_id_of(request.name))
        return GetWebhookEndpointResponse(endpoint=endpoint_message(_there(found, request.name)))

    async def ListWebhookEndpoints(
        self, request: ListWebhookEndpointsRequest, context: Any
    ) -> ListWebhookEndpointsResponse:
        return ListWebhookEndpointsResponse(endpoints=map(endpoint_message, await self._endpoints.all()))

    async def UpdateWebhookEndpoint(
        self, request: UpdateWebhookEndpointRequest, context: Any
    ) -> UpdateWebhookEndpointResponse:
        name, values = request.endpoint.name, to_wish(request.endpoint)
        named = _named(request, values)
        if Field.EVENT_TYPES in named:
            _check_types(values)
        if Field.URL in named:
            await self._check_url(values)
        changed = await self._endpoints.update(_id_of(name), lambda wish: updated(wish, named, values), _actor())
        return UpdateWebhookEndpointResponse(endpoint=endpoint_message(_there(changed, name)))

    async def DeleteWebhookEndpoint(
        self, request: DeleteWebhookEndpointRequest, context: Any
    ) -> DeleteWebhookEndpointResponse:
        if not await self._endpoints.delete(_id_of(request.name), _actor()):
            raise _not_found(request.name)
        return DeleteWebhookEndpointResponse()

    async def RotateWebhookSecret(
        self, request: RotateWebhookSecretRequest, context: Any
    ) -> RotateWebhookSecretResponse:
        secret, sealed = self._new_secret()
        changed = await self._endpoints.rotate(_id_of(request.name), sealed, _actor())
        return RotateWebhookSecretResponse(endpoint=endpoint_message(_there(changed, request.name)), secret=secret)

    async def EnableWebhookEndpoint(
        self, request: EnableWebhookEndpointRequest, context: Any
    ) -> EnableWebhookEndpointResponse:
        changed = await self._endpoints.enable(_id_of(request.name), _actor())
        return EnableWebhookEndpointResponse(endpoint=endpoint_message(_there(changed, request.name)))

    async def DisableWebhookEndpoint(
        self, request: DisableWebhookEndpointRequest, context: Any
    ) -> DisableWebhookEndpointResponse:
        changed = await self._endpoints.disable(_id_of(request.name), _actor())
        return DisableWebhookEndpointResponse(endpoint=endpoint_message(_there(changed, request.name)))

    async def ReplayWebhookEndpoint(
        self, request: ReplayWebhookEndpointRequest, context: Any
    ) -> ReplayWebhookEndpointResponse:
        position = await self._position(request.cursor)
        changed = await self._endpoints.replay(_id_of(request.name), position, _actor())
        return ReplayWebhookEndpointResponse(endpoint=endpoint_message(_there(changed, request.name)))

    async def ListWebhookDeliveries(
        self, request: ListWebhookDeliveriesRequest, context: Any
    ) -> ListWebhookDeliveriesResponse:
        state = DeliveryState(request.state) if request.state else None
        filters = ("webhook-deliveries", request.endpoint, state)
        after = pages.decode(request.page_token, *filters) if request.page_token else None

        def answer(deliveries: Sequence[Delivery], token: str) -> ListWebhookDeliveriesResponse:
            return ListWebhookDeliveriesResponse(deliveries=map(delivery_message, deliveries), next_page_token=token)

        async def page(size: int) -> tuple[Sequence[Delivery], Position | None]:
            found = await self._endpoints.deliveries(_id_of(request.endpoint), state, after, size)
            if found is None:
                raise _not_found(request.endpoint)
            return found

        return await pages.fitting(page, answer, request.page_size, filters)

    async def RedeliverWebhook(self, request: RedeliverWebhookRequest, context: Any) -> RedeliverWebhookResponse:
        changed = await self._endpoints.redeliver(request.name.removeprefix(DELIVERIES), _actor())
        if changed is None:
            text = f"there is no {request.name}"
            raise Refusal("WEBHOOK_DELIVERY_NOT_FOUND", text, {"delivery": request.name})
        return RedeliverWebhookResponse(delivery=delivery_message(changed))

    def _new_secret(self) -> tuple[str, str]:
        """As it is shown, and as it is kept. Raises Refusal WEBHOOKS_OFF."""
        if self._secrets is None:
            text = "there are no webhooks: the service has no keys to keep their secrets with (WEBHOOK_KEYS_FILE)"
            raise Refusal("WEBHOOKS_OFF", text)
        secret = self._secrets.new()
        return secret, self._secrets.sealed(secret)

    async def _check_url(self, wish: Wish) -> None:
        """Raises Refusal INVALID_WEBHOOK_URL."""
        problem = await self._destinations.problem_of(wish.url)
        if problem is not None:
            told = {"url": wish.url[:METADATA_LENGTH_MAX], "problem": problem[:METADATA_LENGTH_MAX]}
            raise Refusal("INVALID_WEBHOOK_URL", f"the webhook's url {told['problem']}", told)

    async def _position(self, cursor: str) -> Mark:
        """Raises Refusal INVALID_CURSOR, also for one from beyond the end of the feed: of another ledger, or of the
        time before a restore."""
        if not cursor:
            return self._feed.beginning
        mark = to_mark(cursor)
        if mark is None or mark > await self._feed.end():
            text = (
                "the cursor is neither of a delivery nor of WatchTransactions without a wallet; leave it out to begin"
            )
            raise Refusal("INVALID_CURSOR", f"{text} with the first transaction")
        return mark


def _actor() -> Actor:
    return actor_of_call(OUR_OWN)


def _id_of(name: str) -> str:
    return name.removeprefix(ENDPOINTS)


def _there(found: Endpoint | None, name: str) -> Endpoint:
    """Raises Refusal WEBHOOK_ENDPOINT_NOT_FOUND."""
    if found is None:
        raise _not_found(name)
    return found


def _not_found(name: str) -> Refusal:
    return Refusal("WEBHOOK_ENDPOINT_NOT_FOUND", f"there is no {name}", {"endpoint": name})


def _check_types(wish: Wish) -> None:
    """Raises Refusal UNKNOWN_EVENT_TYPE."""
    known = ", ".join(EventType)
    for event_type in wish.event_types:
        if event_type not in list(EventType):
            told = event_type[:METADATA_LENGTH_MAX]
            text = f"there is no event type {told!r}; there are {known}"
            raise Refusal("UNKNOWN_EVENT_TYPE", text, {"event_type": told, "known": known})


def _named(request: UpdateWebhookEndpointRequest, values: Wish) -> frozenset[Field]:
    """Raises Refusal IMMUTABLE_FIELD, INVALID_FIELD."""
    try:
        return fields(request.update_mask.paths, values)
    except ImmutableField as error:
        raise Refusal("IMMUTABLE_FIELD", f"{error} cannot be set", {"field": str(error)}) from None
    except UnknownPath as error:
        raise invalid("update_mask", "update_mask.path", str(error)) from None
