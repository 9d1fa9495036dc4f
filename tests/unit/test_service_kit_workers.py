"""How a service's process asks the kernel to schedule its threads."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the policies are Linux'")

SCRIPT = """
import os, threading
from service_kit.settings import ServiceSettings
from service_kit.workers import run

async def serve(settings):
    policies = [os.sched_getscheduler(0)]
    thread = threading.Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    print(*policies)

{before}
identity = {{"auth_issuer": "issuer", "auth_jwks": "jwks.json"}}
run("some_service", lambda: ServiceSettings(database_dsn="postgresql://nobody", port=1, **identity), serve)
"""


def policies(before: str = "") -> list[int]:
    """Of the main thread of a service's process and of one that it starts."""
    script = SCRIPT.format(before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [int(policy) for policy in done.stdout.split()]


def test_no_thread_interrupts_another_when_it_wakes() -> None:
    assert policies() == [os.SCHED_BATCH] * 2


def test_a_policy_that_somebody_chose_stays() -> None:
    assert policies("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))") == [os.SCHED_IDLE] * 2


def test_a_sandbox_that_forbids_it_stops_nothing() -> None:
    forbids = "def refuse(*_): raise PermissionError\nos.sched_setscheduler = refuse"
    assert policies(forbids) == [os.SCHED_OTHER] * 2
