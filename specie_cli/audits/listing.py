"""`specie audit records` and `specie audit acts`: who tried to move what, and who changed what."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import typer
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from specie.transaction.v1 import (
    AuditRecord,
    AuditServiceStub,
    ListActsRequest,
    ListAuditRecordsRequest,
    Transaction,
    TransactionKind,
    TransactionState,
)
from specie.type.v1 import Act, Money
from specie.wallet.v1 import ListWalletActsRequest, WalletAuditServiceStub

from specie_cli import show
from specie_cli.ending import told
from specie_cli.gateway import DEFAULT_SERVER, Server, connection
from specie_cli.lists import LIMIT, Limit, at_most, in_lines, page_size, pages
from specie_cli.report import TimeZone
from specie_cli.reports.output import written
from specie_cli.reports.times import bound, zone_of
from specie_cli.wallets import name_of

KIND, STATE = "TRANSACTION_KIND_", "TRANSACTION_STATE_"
UNSPECIFIED = "UNSPECIFIED"


SUBJECTS: Final = ("wallets/", "payouts/", "webhookEndpoints/")


class Format(StrEnum):
    TEXT = "text"
    JSONL = "jsonl"


Kind = StrEnum("Kind", [show.short(name, KIND) for name, number in TransactionKind.items() if number])  # type: ignore[misc]
State = StrEnum("State", [show.short(name, STATE) for name, number in TransactionState.items() if number])  # type: ignore[misc]

Start = Annotated[str | None, typer.Option("--from", help="A date or time. Default: from the beginning")]
End = Annotated[str | None, typer.Option("--to", help="A date or time, and not itself in it. Default: now")]
Principal = Annotated[str, typer.Option(help="Only of this one: the subject of the caller's token")]
Form = Annotated[Format, typer.Option("--format", help="For people, or for programs: JSON, a line each")]

M = TypeVar("M", bound=Message)


def records(
    wallet: Annotated[str, typer.Option(help="Only attempts that name it")] = "",
    principal: Principal = "",
    request_id: Annotated[str, typer.Option(help="Only the attempt with it; needs --principal")] = "",
    trace_id: Annotated[str, typer.Option(help="Only attempts of calls with this x-request-id")] = "",
    state: Annotated[State | None, typer.Option(case_sensitive=False, help="Only in this state")] = None,
    kind: Annotated[Kind | None, typer.Option(case_sensitive=False, help="Only of this kind")] = None,
    start: Start = None,
    end: End = None,
    time_zone: TimeZone = "UTC",
    limit: Limit = LIMIT,
    form: Form = Format.TEXT,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Lists the attempts to move money, the newest first: who, what, what became of it, balances before and after."""
    request = ListAuditRecordsRequest(
        wallet=name_of(wallet) if wallet else "",
        principal=principal,
        transaction_request_id=request_id,
        trace_id=trace_id,
        state=TransactionState.Value(STATE + (state.name if state else UNSPECIFIED)),
        kind=TransactionKind.Value(KIND + (kind.name if kind else UNSPECIFIED)),
        page_size=page_size(limit),
    )
    bound(request, start, end, zone_of(time_zone))
    with told(), connection(server) as channel:
        stub = AuditServiceStub(channel)
        found = pages(stub.ListAuditRecords, request, lambda page: page.records)
        _show(at_most(limit, found), form, _record_lines)


def acts(
    subject: Annotated[str, typer.Option(help="Only on it: wallets/..., payouts/..., webhookEndpoints/...")] = "",
    principal: Principal = "",
    start: Start = None,
    end: End = None,
    time_zone: TimeZone = "UTC",
    limit: Limit = LIMIT,
    form: Form = Format.TEXT,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Lists what was done to wallets, payouts and webhook endpoints, the newest first: who, what, before and after."""
    if subject and not subject.startswith(SUBJECTS):
        wanted = "wallets/..., payouts/... or webhookEndpoints/..."
        raise typer.BadParameter(f"{subject!r} is not {wanted}", param_hint="--subject")
    of_wallets = ListWalletActsRequest(principal=principal, page_size=page_size(limit))
    of_others = ListActsRequest(principal=principal, page_size=page_size(limit))
    for request in (of_wallets, of_others):
        bound(request, start, end, zone_of(time_zone))
    with told(), connection(server) as channel:
        found: list[Iterator[Act]] = []
        if not subject or subject.startswith("wallets/"):
            of_wallets.wallet = subject
            found.append(pages(WalletAuditServiceStub(channel).ListWalletActs, of_wallets, lambda page: page.acts))
        if not subject.startswith("wallets/"):
            of_others.subject = subject
            found.append(pages(AuditServiceStub(channel).ListActs, of_others, lambda page: page.acts))
        merged = heapq.merge(*found, key=lambda act: act.create_time.ToNanoseconds(), reverse=True)
        _show(at_most(limit, merged), form, _act_lines)


def _show(found: Iterator[M], form: Format, lines: Callable[[M], Iterable[str]]) -> None:
    if form is Format.TEXT:
        in_lines(found, lines)
        return
    with written(None) as output:
        for message in found:
            output.write(MessageToJson(message, always_print_fields_with_no_presence=True, indent=None) + "\n")


def _record_lines(record: AuditRecord) -> Iterator[str]:
    """What was tried, and below it each account."""
    attempt = record.transaction
    time = show.day_and_time(attempt.decide_time if attempt.HasField("decide_time") else attempt.create_time)
    amount = [_brief(attempt.amount)] if attempt.HasField("amount") else []
    kind = show.short(TransactionKind.Name(attempt.kind), KIND)
    yield "  ".join([f"{time} UTC", kind, _outcome(attempt), *amount, f"by {attempt.principal}"])
    yield f"  {attempt.name}"
    width = max((len(change.account) for change in record.changes), default=0)
    for change in record.changes:
        yield f"  {change.account:{width}}  {_brief(change.before)} -> {_brief(change.after)}"
    if not record.changes:
        # No balance changed: who was to pay and to be paid.
        names = [attempt.source, attempt.destination] if attempt.source else [p.account for p in attempt.postings]
        yield from (f"  {name}" for name in names)


def _brief(money: Money) -> str:
    """`25.00 USD`."""
    told = show.major(money.minor_units, money.currency_code, grouping=",")
    return show.money(money) if told is None else f"{told} {money.currency_code}"


def _outcome(attempt: Transaction) -> str:
    """`FAILED: INSUFFICIENT_FUNDS`."""
    state, info = show.short(TransactionState.Name(attempt.state), STATE), ErrorInfo()
    reasons = [info.reason for detail in attempt.error.details if detail.Unpack(info)]
    return f"{state}: {reasons[0]}" if reasons else state


def _act_lines(act: Act) -> Iterator[str]:
    """What was done, to what, and below it each field that it changed."""
    yield f"{show.day_and_time(act.create_time)} UTC  {act.act}  by {act.principal}"
    yield f"  {act.subject} #{act.number}"
    for field in sorted({*act.before, *act.after}):
        before, after = act.before.get(field, ""), act.after.get(field, "")
        if before or after:
            yield f"  {field}: " + (f"{before} -> {after}" if before and after else after or f"{before} -> none")
