"""Sends events to the endpoints that ask for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import structlog
from google.protobuf.json_format import MessageToDict

from service_kit.database import Database
from transaction_service.adapters.webhook_courier import SqlPost
from transaction_service.adapters.webhook_sender import HttpSender
from transaction_service.adapters.webhook_subjects import SqlSubjects, Told
from transaction_service.back_office.part import Part
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.domain.movement import Transaction
from transaction_service.payouts.payout import Payout
from transaction_service.rpc.convert import payout_message, transaction_message
from transaction_service.rpc.webhook_messages import endpoint_message
from transaction_service.webhooks.courier import Courier
from transaction_service.webhooks.endpoint import Endpoint
from transaction_service.webhooks.pace import Pace
from transaction_service.webhooks.schedule import Parcel
from transaction_service.webhooks.secrets import Secrets
from transaction_service.webhooks.sending import body
from transaction_service.webhooks.tour import Patience

log = structlog.stdlib.get_logger()

WORDS: Final = {"transactions": "transaction", "payouts": "payout", "webhookEndpoints": "endpoint"}
"""Under which an event's data tells of its subject: as the contract's responses name it."""


def part(database: Database, settings: BackOfficeSettings) -> Part | None:
    """None: the settings name no keys. Raises OSError when their file has none. To be called in the event loop."""
    if not settings.webhook_keys_file:
        log.info("webhooks_off")
        return None
    secrets = Secrets.from_file(settings.webhook_keys_file)
    sender = HttpSender(settings.webhook_timeout_seconds, private=settings.webhook_private_networks)
    patience = Patience(
        settings.webhook_first_pause_seconds, settings.webhook_pause_seconds_max, settings.webhook_give_up_seconds
    )
    post, contents = SqlPost(database, f"courier-{uuid4().hex}"), JsonContents(database)
    pace = Pace(settings.webhook_sends_per_second)
    courier = Courier(post, contents, sender, secrets.opened, patience, pace, settings.webhook_keep_days)
    return Part(courier.run, sender.close)


class JsonContents:
    """Fills transaction_service.webhooks.courier_ports.Contents, with the API's own JSON."""

    def __init__(self, database: Database) -> None:
        self._subjects = SqlSubjects(database)

    async def bodies(self, parcels: Sequence[Parcel]) -> Mapping[str, str]:
        told = await self._subjects.read(parcels)
        return {parcel.id: _body(parcel, told[parcel.id]) for parcel in parcels if parcel.id in told}


def _body(parcel: Parcel, told: Told) -> str:
    return body(parcel.event_type, told.time, {WORDS[parcel.subject.partition("/")[0]]: _json(parcel.subject, told)})


def _json(subject: str, told: Told) -> dict[str, Any]:
    match told.thing:
        case None:
            return {"name": subject}
        case Transaction():
            message: Any = transaction_message(told.thing)
        case Payout():
            message = payout_message(told.thing)
        case Endpoint():
            message = endpoint_message(told.thing)
    return MessageToDict(message, always_print_fields_with_no_presence=True)
