"""What happens to every call around its handler, as data: `chain`, from the outside in.

One grpc.aio interceptor runs the whole chain, composed once per method, because each interceptor that grpc itself
drives costs several microseconds a call.
"""

from __future__ import annotations  # grpc's types are generic for type checkers only

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic, time
from typing import Any, Final

import grpc
import grpc.aio
import protovalidate
import structlog
import uuid_utils
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from grpc_status.rpc_status import to_status as to_grpc_status

from service_kit import metrics
from service_kit.call import Call, enter_call
from service_kit.caller import access_of, scope_name
from service_kit.status import CODES, Refusal, Violation, internal, invalid_fields, late, to_status
from service_kit.streams import Streams
from service_kit.tokens import Tokens, expired
from service_kit.wording import in_words

Answer = Message | None
"""None: the answers were sent one by one, as a stream."""
Next = Callable[[Call], Awaitable[Answer]]
Stage = Callable[[Call, Next], Awaitable[Answer]]

log = structlog.stdlib.get_logger()

OUR_PACKAGES: Final = "/specie."
TRACE_HEADER: Final = "x-request-id"
TRACE_ID_LENGTH_MAX: Final = 128
AUTHORIZATION: Final = "authorization"
IDEMPOTENCY_HEADERS: Final = ("idempotency-key", "x-idempotency-key")
CALL_SECONDS_MAX: Final = 60.0
"""How long a call may take whose caller set no deadline. A stream may last for ever."""
EARLY_SHARE: Final = 0.1
EARLY_SECONDS_MAX: Final = 0.1
"""A call is ended by this share of its time, and at most so much, before its deadline: enough for the way back."""


async def trace(call: Call, proceed: Next) -> Answer:
    """Outermost, so that every later line and answer carries the trace id."""
    sent = call.metadata.get(TRACE_HEADER, "")
    # What is not printable ASCII could not be sent back: grpc would fail the call after its work is done.
    usable = 0 < len(sent) <= TRACE_ID_LENGTH_MAX and sent.isascii() and sent.isprintable()
    call.trace_id = sent if usable else str(uuid_utils.uuid4())
    call.context.set_trailing_metadata(((TRACE_HEADER, call.trace_id),))
    return await proceed(call)


async def access_log(call: Call, proceed: Next) -> Answer:
    """One line a call. Outside the error map, so that it sees the code that the caller sees."""
    try:
        return await proceed(call)
    finally:
        log.info(
            "call",
            method=call.method,
            code=call.code,
            reason=call.reason,
            duration_ms=round((monotonic() - call.started) * 1000, 3),
            trace_id=call.trace_id,
            principal=call.principal,
        )


async def count(call: Call, proceed: Next) -> Answer:
    """Outside the error map, so that refusals count."""
    metrics.Running.calls += 1
    try:
        return await proceed(call)
    finally:
        metrics.Running.calls -= 1
        metrics.call_ended(call.method, call.code, monotonic() - call.started)


async def map_errors(call: Call, proceed: Next) -> Answer:
    """The one place that turns an exception into a status. What it does not know is a bug, told to the log only."""
    try:
        return await proceed(call)
    except Refusal as refusal:
        status = to_status(refusal)
        call.reason = refusal.reason
    except asyncio.CancelledError:
        call.code, call.reason = "CANCELLED", "CANCELLED"
        raise
    except Exception:
        log.exception("call_failed", method=call.method, trace_id=call.trace_id)
        call.reason = "INTERNAL"
        status = to_status(internal(call.trace_id))
    call.code = CODES[call.reason].name
    await _abort(call, status)
    raise AssertionError("abort returned")  # pragma: no cover: grpc raises in abort


async def _abort(call: Call, status: status_pb2.Status) -> None:
    rich = to_grpc_status(status)
    trailing = ((TRACE_HEADER, call.trace_id), *(rich.trailing_metadata or ()))
    await call.context.abort(rich.code, rich.details or "", trailing)


async def deadline(call: Call, proceed: Next) -> Answer:
    """Refuses what is late already, and ends what is not answered in time: a little before its caller and grpc itself
    would, so that the caller is told, with a reason. A stream that has a deadline is ended by grpc."""
    left = call.context.time_remaining()
    if left is not None and left <= 0:
        raise late()
    if call.streams:
        if left is not None:
            call.deadline = call.started + left
        return await proceed(call)
    left = CALL_SECONDS_MAX if left is None else left - min(EARLY_SECONDS_MAX, left * EARLY_SHARE)
    call.deadline = call.started + left
    try:
        async with asyncio.timeout(left) as limit:
            return await proceed(call)
    except TimeoutError:
        if limit.expired():
            raise late() from None
        raise


def authenticating(tokens: Tokens) -> Stage:
    """Outside the parser: nothing is spent on a stranger's message."""

    async def authenticate(call: Call, proceed: Next) -> Answer:
        if not access_of(call.method).anybody:
            call.caller, call.caller_until = await tokens.verified(call.metadata.get(AUTHORIZATION, ""))
        return await proceed(call)

    return authenticate


async def authorise(call: Call, proceed: Next) -> Answer:
    """Whether the contract lets this caller make the call. Whose wallets it is about is asked where they are read."""
    access = access_of(call.method)
    if not call.caller.may(access):
        needed = scope_name(access.scope) if access.scope else "none"
        text = f"the token does not allow this call; it needs the scope {needed}"
        raise Refusal("PERMISSION_DENIED", text + " and a trusted caller" * access.trusted_only, {"scope": needed})
    return await proceed(call)


async def parse(call: Call, proceed: Next) -> Answer:
    """Inside the error map: left to grpc, a broken message is UNKNOWN with the parser's own words."""
    try:
        call.request = call.deserializer(call.raw)
    except DecodeError:
        raise Refusal("MALFORMED_REQUEST", "the request is not a message of this call") from None
    return await proceed(call)


async def idempotency_key(call: Call, proceed: Next) -> Answer:
    """Fills an empty request_id from the header, so that what follows knows one place for it."""
    request: Any = call.request
    sent = {call.metadata[header] for header in IDEMPOTENCY_HEADERS if header in call.metadata}
    if sent and "request_id" in request.DESCRIPTOR.fields_by_name:
        if not all(map(str.isascii, sent)):
            # Other bytes have no certain meaning in a header, so two keys could become one.
            rule, text = "request_id.ascii", "an idempotency-key header must be ASCII; other characters need the field"
            raise invalid_fields([Violation("request_id", rule, text)])
        if request.request_id:
            sent.add(request.request_id)
        if len(sent) > 1:
            rule, text = "request_id.ambiguous", "the field and the idempotency-key headers differ; send one of them"
            raise invalid_fields([Violation("request_id", rule, text)])
        request.request_id = sent.pop()
    return await proceed(call)


async def validate(call: Call, proceed: Next) -> Answer:
    """Innermost: the rules that the contract carries."""
    check_rules(call.request, without_key="must be given, or sent as the header idempotency-key")
    return await proceed(call)


def check_rules(message: Message, *, without_key: str = "must be given") -> None:
    """Raises Refusal INVALID_FIELD for what breaks a rule that the contract carries. `without_key`: what is said of the
    commonest flaw, a missing request_id."""
    violations = protovalidate.collect_violations(message)
    if violations:
        told = [Violation(field_path(v.proto.field), v.proto.rule_id, _description(v)) for v in violations]
        raise invalid_fields([replace(v, description=without_key) if _is_no_key(v) else v for v in told])


def _description(violation: Any) -> str:  # noqa: ANN401 - protovalidate's own class
    told: str = violation.proto.message
    words = in_words(violation.rule_value) if violation.proto.rule_id == "string.pattern" else told
    return f"the key {words}" if violation.proto.for_key else words


def _is_no_key(violation: Violation) -> bool:
    return (violation.field, violation.rule) == ("request_id", "string.min_len")


def field_path(path: Any) -> str:  # noqa: ANN401 - protovalidate has its own message classes, none of them public
    """`amount.currency_code`, `names[2]`, `labels["Key"]`; empty for a rule over the whole request."""
    parts: list[str] = []
    for element in path.elements if path is not None else ():
        subscript = ""
        if element.subscript is not None:
            value = element.subscript.value
            subscript = f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        parts.append(element.field_name + subscript)
    return ".".join(parts)


def chain(tokens: Tokens) -> Sequence[Stage]:
    """From the outside in."""
    known = authenticating(tokens)
    return (trace, access_log, count, map_errors, deadline, known, authorise, parse, idempotency_key, validate)


class ChainInterceptor(grpc.aio.ServerInterceptor):
    """Runs the chain around every call of our own services; health and reflection pass untouched.

    Around a stream it runs once: the access log, the metrics and the error map see its end.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.streams: Final = Streams()
        self._stages = stages
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(OUR_PACKAGES):
            return handler
        if handler.request_streaming:
            raise TypeError(f"{method} takes a stream, and the interceptors know only single requests")
        wrapped = self._stream(method, handler) if handler.response_streaming else self._unary(method, handler)
        self._handlers[method] = wrapped
        return wrapped

    # Without a deserializer of its own, grpc hands the bytes over: `parse` reads them.

    def _unary(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour: Any = handler.unary_unary
        deserializer: Any = handler.request_deserializer

        async def handle(call: Call) -> Answer:
            enter_call(call)
            answer: Message = await behaviour(call.request, call.context)
            return answer

        composed = self._compose(handle)

        async def unary(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
            return await composed(Call(method, raw, deserializer, context, _text_metadata(context)))

        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=handler.response_serializer)

    def _stream(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour: Any = handler.unary_stream
        deserializer: Any = handler.request_deserializer

        async def handle(call: Call) -> Answer:
            enter_call(call)
            # A token that was good when the stream began does not keep it open for ever.
            left = None if call.caller_until is None else call.caller_until - time()
            try:
                async with asyncio.timeout(left) as valid:
                    await self.streams.send(behaviour(call.request, call.context), call.context.write)
            except TimeoutError:
                if valid.expired():
                    raise expired() from None
                raise
            return None

        composed = self._compose(handle)

        async def stream(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await composed(Call(method, raw, deserializer, context, _text_metadata(context), streams=True))

        writes_itself: Any = stream
        return grpc.unary_stream_rpc_method_handler(writes_itself, response_serializer=handler.response_serializer)

    def _compose(self, handle: Next) -> Next:
        for stage in reversed(self._stages):
            handle = _bind(stage, handle)
        return handle


def _bind(stage: Stage, proceed: Next) -> Next:
    def bound(call: Call) -> Awaitable[Answer]:
        return stage(call, proceed)

    return bound


def _text_metadata(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """By key; a key that was sent several times has its values joined, as in HTTP (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found[key] = f"{found[key]},{value}" if key in found else value
    return found
