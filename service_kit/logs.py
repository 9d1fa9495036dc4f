"""Structured logs: one JSON object a line on standard error, ours and the libraries' alike."""

import logging
import os
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

import orjson
import structlog

FILE_NUMBER: Final = 2
LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


class StandardError:
    """Standard error, which may go away or be full: then a line is lost, and never the work that it tells of."""

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(FILE_NUMBER, line)

    def flush(self) -> None:
        """Nothing is kept back."""


def _to_bytes(event: Any, **_: Any) -> bytes:  # noqa: ANN401 - whatever an event holds
    return orjson.dumps(event, default=str)


def configure_logs(level: str, service: str, worker: int) -> None:
    """Called once, before the first line. Costs a few microseconds a line."""

    def name(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:  # noqa: ANN401
        event["service"] = service
        event["worker"] = worker
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_to_bytes)],
        logger_factory=structlog.BytesLoggerFactory(file=cast("BinaryIO", StandardError())),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(
                    serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
                ),
            ],
        )
    )
    logging.basicConfig(level=LEVELS["WARNING"], handlers=[handler], force=True)
