"""The wallet service's own token, in a file that somebody else renews: an agent, a projected volume, `specie token`."""

from pathlib import Path

import structlog

from service_kit.status import RETRY_AFTER_SECONDS, Refusal

log = structlog.stdlib.get_logger()


class ServiceToken:
    """Read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_ns = -1
        self._header = ""

    def header(self) -> str:
        """`Bearer ...`. Raises Refusal UNAVAILABLE when there is no token, and the log has why."""
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._changed_ns:
                (token,) = self._path.read_text("ascii").split()
                self._header, self._changed_ns = f"Bearer {token}", changed_ns
        except (OSError, ValueError) as error:
            # Of what stands in the file nothing is told: it may be a token with something beside it.
            why = error.strerror if isinstance(error, OSError) else "must have one token in it and nothing else"
            log.error("service_token_refused", reason="UNAVAILABLE", error=f"{self._path}: {why}")
            text = "the wallet service has no token of its own now; whoever renews it is late"
            raise Refusal("UNAVAILABLE", text, retry_after_seconds=RETRY_AFTER_SECONDS) from error
        return self._header
