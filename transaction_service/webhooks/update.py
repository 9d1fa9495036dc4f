"""Which fields an update mask names, and what an update makes of an endpoint (AIP-134)."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from transaction_service.webhooks.endpoint import Wish


class Field(StrEnum):
    """What can be set: Wish's fields."""

    URL = "url"
    EVENT_TYPES = "event_types"
    WALLET = "wallet"
    DESCRIPTION = "description"


ALL: Final = frozenset(Field)
WILDCARD: Final = "*"
FIXED: Final = frozenset(
    {"name", "state", "disabled_reason", "cursor", "waiting_count", "create_time", "update_time"},
)
"""The endpoint's other fields: the service gives them."""


class ImmutableField(Exception):  # noqa: N818 - what happened, in plain words
    """The mask names a field that the service gives: this one."""


class UnknownPath(Exception):  # noqa: N818 - as above
    """The mask names what cannot be set, as this text says."""


def fields(mask: Sequence[str], values: Wish) -> frozenset[Field]:
    """The fields to set. An empty mask names those that are not empty in `values`. Raises ImmutableField,
    UnknownPath."""
    if not mask:
        return frozenset(field for field in Field if getattr(values, field.value))
    if WILDCARD in mask:
        if len(mask) > 1:
            raise UnknownPath("`*` stands for all fields and stands alone")
        return ALL
    for path in mask:
        if path in FIXED:
            raise ImmutableField(path)
        if path not in ALL:
            raise UnknownPath(f"{path!r} is none of {', '.join(Field)} and *")
    return frozenset(Field(path) for path in mask)


def updated(wish: Wish, named: frozenset[Field], values: Wish) -> Wish:
    """Each named field is replaced whole."""
    return replace(wish, **{field.value: getattr(values, field.value) for field in named})
