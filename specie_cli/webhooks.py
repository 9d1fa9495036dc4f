"""`specie webhooks ...`: who is told what happens in the ledger, and what became of each event."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer
from specie.transaction.v1 import (
    CreateWebhookEndpointRequest,
    CreateWebhookEndpointResponse,
    DeleteWebhookEndpointRequest,
    DisableWebhookEndpointRequest,
    DisableWebhookEndpointResponse,
    EnableWebhookEndpointRequest,
    EnableWebhookEndpointResponse,
    GetWebhookEndpointRequest,
    GetWebhookEndpointResponse,
    ListWebhookDeliveriesRequest,
    ListWebhookDeliveriesResponse,
    ListWebhookEndpointsRequest,
    RedeliverWebhookRequest,
    ReplayWebhookEndpointRequest,
    ReplayWebhookEndpointResponse,
    RotateWebhookSecretRequest,
    RotateWebhookSecretResponse,
    UpdateWebhookEndpointRequest,
    UpdateWebhookEndpointResponse,
    WebhookDelivery,
    WebhookDeliveryState,
    WebhookEndpoint,
    WebhookEndpointState,
    WebhookServiceStub,
)

from specie_cli import show
from specie_cli.ending import messages, told
from specie_cli.gateway import CALL_TIMEOUT_SECONDS, DEFAULT_SERVER, Json, Server, connection
from specie_cli.lists import LIMIT, Limit, at_most, full_name, in_lines, page_size, pages
from specie_cli.wallets import name_of

app = typer.Typer(no_args_is_help=True, help="Webhooks: endpoints, their secrets, and what was sent to them.")

BEGINNING: Final = "beginning"

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, or the uuid alone")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Only events of this type, for example payout.paid; may be given several times"),
]


_WithSecret = CreateWebhookEndpointResponse | RotateWebhookSecretResponse
_WithEndpoint = (
    _WithSecret
    | GetWebhookEndpointResponse
    | UpdateWebhookEndpointResponse
    | EnableWebhookEndpointResponse
    | DisableWebhookEndpointResponse
    | ReplayWebhookEndpointResponse
)


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"


@app.command(name="list")
def list_endpoints(server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Lists all endpoints, the oldest first."""
    with told(), connection(server) as channel:
        request = ListWebhookEndpointsRequest()
        response = WebhookServiceStub(channel).ListWebhookEndpoints(request, timeout=CALL_TIMEOUT_SECONDS)
        if json:
            show.as_json(response)
        else:
            in_lines(response.endpoints, _endpoint_lines)


@app.command()
def create(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to")],
    events: Events = None,
    wallet: Annotated[str, typer.Option(help="Only events that name this wallet")] = "",
    description: Annotated[str, typer.Option(help="What people call it")] = "",
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Creates an endpoint, which is sent what commits from now on, and shows its secret, once."""
    endpoint = WebhookEndpoint(
        url=url, event_types=events or (), wallet=name_of(wallet) if wallet else "", description=description
    )
    with connection(server) as channel:
        request = CreateWebhookEndpointRequest(endpoint=endpoint)
        response = WebhookServiceStub(channel).CreateWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show_with_secret(response, json=json)


@app.command()
def get(endpoint: Endpoint, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Reads an endpoint."""
    request = GetWebhookEndpointRequest(name=_name(endpoint))
    with connection(server) as channel:
        response = WebhookServiceStub(channel).GetWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


@app.command()
def update(
    endpoint: Endpoint,
    url: Annotated[str | None, typer.Option(help="Where events are sent to, also those on their way")] = None,
    events: Events = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="Events of every type")] = False,
    wallet: Annotated[str | None, typer.Option(help="Only events that name this wallet; empty: of every one")] = None,
    description: Annotated[str | None, typer.Option(help="What people call it")] = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Changes what is given, and nothing else."""
    if events and all_events:
        raise typer.BadParameter("it is either --event or all of them", param_hint="--all-events")
    changes = {
        "url": url,
        "event_types": events or ([] if all_events else None),
        "wallet": name_of(wallet) if wallet else wallet,
        "description": description,
    }
    given = {field: value for field, value in changes.items() if value is not None}
    if not given:
        raise typer.BadParameter("nothing is to change: give --url, --event, --wallet or --description")
    request = UpdateWebhookEndpointRequest(endpoint=WebhookEndpoint(name=_name(endpoint), **given))  # type: ignore[arg-type] # by its field
    request.update_mask.paths.extend(given)
    with connection(server) as channel:
        response = WebhookServiceStub(channel).UpdateWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


@app.command()
def delete(endpoint: Endpoint, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Deletes an endpoint and its deliveries."""
    request = DeleteWebhookEndpointRequest(name=_name(endpoint))
    with connection(server) as channel:
        response = WebhookServiceStub(channel).DeleteWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    if json:
        show.as_json(response)
    else:
        print(f"{request.name} is deleted.")


@app.command()
def rotate(endpoint: Endpoint, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Gives an endpoint a new secret and shows it, once. For 24 hours events are signed with the old one, too."""
    request = RotateWebhookSecretRequest(name=_name(endpoint))
    with connection(server) as channel:
        response = WebhookServiceStub(channel).RotateWebhookSecret(request, timeout=CALL_TIMEOUT_SECONDS)
    _show_with_secret(response, json=json)


@app.command()
def enable(endpoint: Endpoint, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Sends a disabled endpoint events again, from where they ended."""
    request = EnableWebhookEndpointRequest(name=_name(endpoint))
    with connection(server) as channel:
        response = WebhookServiceStub(channel).EnableWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


@app.command()
def disable(endpoint: Endpoint, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Sends an endpoint no more events until it is enabled. None is lost."""
    request = DisableWebhookEndpointRequest(name=_name(endpoint))
    with connection(server) as channel:
        response = WebhookServiceStub(channel).DisableWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


@app.command()
def deliveries(
    endpoint: Endpoint,
    state: Annotated[State | None, typer.Option(case_sensitive=False, help="Only in this state")] = None,
    limit: Limit = LIMIT,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Lists what was and is to be sent to an endpoint, the newest first."""
    wanted = f"WEBHOOK_DELIVERY_STATE_{'UNSPECIFIED' if state is None else state.name}"
    request = ListWebhookDeliveriesRequest(
        endpoint=_name(endpoint), state=WebhookDeliveryState.Value(wanted), page_size=page_size(limit)
    )
    with told(), connection(server) as channel:
        call = WebhookServiceStub(channel).ListWebhookDeliveries
        found = at_most(limit, pages(call, request, lambda page: page.deliveries))
        if json:
            show.as_json(ListWebhookDeliveriesResponse(deliveries=found))
        else:
            in_lines(found, _delivery_lines)


@app.command()
def redeliver(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its name, or the uuid alone")],
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Sends one event to its endpoint once more, with the same id."""
    request = RedeliverWebhookRequest(name=full_name("webhookDeliveries/", delivery))
    with told(), connection(server) as channel:
        response = WebhookServiceStub(channel).RedeliverWebhook(request, timeout=CALL_TIMEOUT_SECONDS)
        if json:
            show.as_json(response)
        else:
            in_lines([response.delivery], _delivery_lines)


@app.command()
def replay(
    endpoint: Endpoint,
    start: Annotated[
        str, typer.Option("--from", help=f"The cursor of a delivery, or {BEGINNING}: since the first transaction")
    ],
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Sends everything behind a place once more, in its order, with the same ids."""
    # An empty one, as of a variable that is not set, would be everything as well.
    if not start:
        raise typer.BadParameter(f"is neither a cursor nor {BEGINNING}", param_hint="--from")
    request = ReplayWebhookEndpointRequest(name=_name(endpoint), cursor="" if start == BEGINNING else start)
    with connection(server) as channel:
        response = WebhookServiceStub(channel).ReplayWebhookEndpoint(request, timeout=CALL_TIMEOUT_SECONDS)
    _show(response, json=json)


def _name(endpoint: str) -> str:
    return full_name("webhookEndpoints/", endpoint)


def _show_with_secret(response: _WithSecret, *, json: bool) -> None:
    """The secret on standard output alone, in a line that no terminal breaks."""
    _show(response, json=json)
    if not json:
        print(response.secret)
    messages().print("This is the only time that the secret is shown: keep it now.")


def _show(response: _WithEndpoint, *, json: bool) -> None:
    if json:
        show.as_json(response)
        return
    endpoint = response.endpoint
    facts = [
        ("endpoint", endpoint.name),
        ("url", endpoint.url),
        ("events", _events(endpoint)),
        ("wallet", endpoint.wallet or "every one"),
        ("description", endpoint.description),
        ("state", _state(endpoint)),
        ("reason", endpoint.disabled_reason),
        ("waiting", str(endpoint.waiting_count)),
        ("created", show.time(endpoint.create_time)),
        ("changed", show.time(endpoint.update_time)),
    ]
    show.as_facts([(name, value) for name, value in facts if value])


def _endpoint_lines(endpoint: WebhookEndpoint) -> Iterator[str]:
    """Where to, and below it its name and what is sent."""
    yield f"{_state(endpoint)}  {endpoint.waiting_count} waiting  {endpoint.url}"
    yield f"  {endpoint.name}"
    yield f"  {_events(endpoint)}" + (f"  {endpoint.wallet}" if endpoint.wallet else "")
    yield from (f"  {words}" for words in (endpoint.description, endpoint.disabled_reason) if words)


def _delivery_lines(delivery: WebhookDelivery) -> Iterator[str]:
    """What was sent, and below it its name, what it is about and what became of it."""
    state = show.short(WebhookDeliveryState.Name(delivery.state), "WEBHOOK_DELIVERY_STATE_")
    attempts = f"{delivery.attempt_count} attempt{'' if delivery.attempt_count == 1 else 's'}"
    yield f"{show.day_and_time(delivery.create_time)} UTC  {state}  {delivery.event_type}  {attempts}"
    yield f"  {delivery.name}"
    yield f"  {delivery.subject}"
    yield f"  cursor {delivery.cursor}"
    if delivery.last_error:
        yield f"  {delivery.last_error}"
    elif delivery.last_status:
        yield f"  HTTP {delivery.last_status}"
    if delivery.HasField("next_attempt_time"):
        yield f"  next attempt {show.day_and_time(delivery.next_attempt_time)} UTC"


def _events(endpoint: WebhookEndpoint) -> str:
    return ", ".join(endpoint.event_types) or "all"


def _state(endpoint: WebhookEndpoint) -> str:
    return show.short(WebhookEndpointState.Name(endpoint.state), "WEBHOOK_ENDPOINT_STATE_")
