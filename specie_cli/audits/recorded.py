"""A transaction's record, as its proof has it, for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from specie.transaction.v1 import TransactionKind, TransactionState

from audit_chain.record import Record
from specie_cli import show

TEXTS: Final = (
    ("failed for", "failure_reason", ""),
    ("from", "source", ""),
    ("to", "destination", ""),
    ("description", "description", ""),
    ("external reference", "external_reference", ""),
    ("reverses", "reverses", "transactions/"),
    ("hold", "hold", "holds/"),
    ("principal", "principal", ""),
    ("request id", "request_id", ""),
    ("trace id", "trace_id", ""),
    ("asked for (UTC)", "create_time", ""),
    ("decided (UTC)", "decide_time", ""),
)
"""What it is called here, what in the record, and what stands before the value."""


def facts_of(record: Record) -> Iterator[tuple[str, str]]:
    """By name. What the record does not say is left out."""
    facts = record.facts
    yield "transaction", record.name
    yield "kind", _named(facts.get("kind"), TransactionKind.items(), "TRANSACTION_KIND_")
    yield "state", _named(facts.get("state"), TransactionState.items(), "TRANSACTION_STATE_")
    yield from _amounts(facts)
    yield from ((name, start + str(facts[field])) for name, field, start in TEXTS if facts.get(field))
    yield from (("label", f"{name}: {value}") for name, value in (facts.get("labels") or {}).items())


def _amounts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of the movement, or of the postings that are asked for in its place."""
    if amount := facts.get("amount"):
        yield "amount", show.units(int(amount), str(facts.get("currency")))
    for account, amount, currency in (facts.get("terms") or {}).get("postings", ()):
        yield "posting", f"{account} {show.units(int(amount), str(currency))}"


def _named(number: Any, names: Sequence[tuple[str, int]], prefix: str) -> str:  # noqa: ANN401 - JSON
    """A later version's numbers have no name here."""
    return next((show.short(name, prefix) for name, value in names if value == number), str(number))
