"""Several worker processes under one parent: started, started again, stopped in order, never left behind."""

import os
import signal
from functools import partial
from pathlib import Path

from tests.kit.postgres import Database
from tests.kit.service import health, transaction_service, wait_until


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def is_serving(target: str) -> bool:
    return health(target) == "SERVING"


def test_each_worker_serves_on_a_port_of_its_own_and_a_killed_one_is_started_again(
    database: Database, tmp_path: Path
) -> None:
    with transaction_service(database, tmp_path, WORKERS=2) as service:
        first = service.worker_pids()
        assert len(first) == 2
        assert {event["worker"] for event in service.events("serving")} == {0, 1}
        for worker in range(2):
            assert "specie_posting_queue_length" in service.metrics(worker)

        os.kill(min(first), signal.SIGKILL)
        wait_until(lambda: len(service.events("serving")) == 3, "the third start")
        died = service.events("worker_died")
        assert [(event["pid"], event["exit_code"]) for event in died] == [(min(first), -9)]
        for target in service.targets:
            wait_until(partial(is_serving, target), "both serve again")
        assert len(service.worker_pids() & first) == 1

        last = service.worker_pids()
        assert service.stop() == 0
        assert not any(map(is_running, first | last))
        assert len(service.events("stopped")) == 2
        assert not service.events("not json")


def test_workers_end_when_their_parent_is_killed(database: Database, tmp_path: Path) -> None:
    with transaction_service(database, tmp_path, WORKERS=2) as service:
        workers = service.worker_pids()
        service.kill()
        wait_until(lambda: not any(map(is_running, workers)), "the workers end")
        # In order, as if they had been told to stop.
        assert len(service.events("stopped")) == 2
