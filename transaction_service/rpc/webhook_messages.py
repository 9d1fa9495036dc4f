"""Webhook endpoints and deliveries as messages."""

from datetime import datetime
from enum import IntEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import WebhookDelivery as DeliveryMessage
from specie.transaction.v1 import WebhookEndpoint as EndpointMessage

from transaction_service.rpc.cursors import to_cursor
from transaction_service.webhooks.endpoint import ENDPOINTS, Delivery, Endpoint, Wish


def _number(value: IntEnum) -> Any:
    """The domain's numbers are the contract's."""
    return value


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


def to_wish(message: EndpointMessage) -> Wish:
    """What the message asks for; what only the service gives is left out."""
    return Wish(message.url, tuple(message.event_types), message.wallet, message.description)


def endpoint_message(endpoint: Endpoint) -> EndpointMessage:
    return EndpointMessage(
        name=endpoint.name,
        url=endpoint.wish.url,
        event_types=endpoint.wish.event_types,
        wallet=endpoint.wish.wallet,
        description=endpoint.wish.description,
        state=_number(endpoint.state),
        disabled_reason=endpoint.disabled_reason,
        cursor=to_cursor(endpoint.position),
        waiting_count=endpoint.waiting,
        create_time=_timestamp(endpoint.create_time),
        update_time=_timestamp(endpoint.update_time),
    )


def delivery_message(delivery: Delivery) -> DeliveryMessage:
    return DeliveryMessage(
        name=delivery.name,
        endpoint=ENDPOINTS + delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        subject=delivery.subject,
        state=_number(delivery.state),
        attempt_count=delivery.attempts,
        next_attempt_time=_timestamp(delivery.next_time),
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        cursor=to_cursor(delivery.mark),
        create_time=_timestamp(delivery.create_time),
        deliver_time=_timestamp(delivery.deliver_time),
    )
