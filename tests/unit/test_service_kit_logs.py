"""Logs are one JSON object a line, ours and the libraries' alike. Seen in a process of its own, which sets them up."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

SCRIPT = """
import logging
import structlog
from service_kit.logs import configure_logs

log = structlog.stdlib.get_logger()  # made before, as every module does
configure_logs("{level}", "some_service", 3)
log.debug("small")
log.info("call", method="/a/B", duration_ms=1.5, odd={{1, 2}} and object)
log.error("large", text='line\\nend "quoted" \u00fc')
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
    logging.getLogger("library").exception("its %s", "words")
logging.getLogger("library").warning("be careful")
logging.getLogger("library").info("never mind")
"""


def lines(level: str) -> list[dict[str, Any]]:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(level=level)], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_every_line_is_json_with_time_level_service_and_worker() -> None:
    found = lines("INFO")
    assert [line["event"] for line in found] == ["call", "large", "broken", "its words", "be careful"]
    assert [line["level"] for line in found] == ["info", "error", "error", "error", "warning"]
    for line in found:
        assert (line["service"], line["worker"]) == ("some_service", 3)
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert (found[0]["method"], found[0]["duration_ms"]) == ("/a/B", 1.5)
    assert found[1]["text"] == 'line\nend "quoted" \u00fc'
    assert "ZeroDivisionError" in found[2]["exception"]
    assert "ZeroDivisionError" in found[3]["exception"]
    assert found[4]["logger"] == "library"


def test_the_level_is_the_least_that_is_written() -> None:
    assert lines("DEBUG")[0]["event"] == "small"
    assert [line["event"] for line in lines("ERROR")][:2] == ["large", "broken"]


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    """As when the collector of the logs has died."""
    script = (
        "import os, structlog; from service_kit.logs import configure_logs; configure_logs('INFO', 's', 0);"
        "r, w = os.pipe(); os.dup2(w, 2); os.close(w); os.close(r);"
        "structlog.get_logger().info('lost'); os.write(1, b'alive')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"alive")
