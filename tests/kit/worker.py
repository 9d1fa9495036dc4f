"""A worker that does nothing: `python -m tests.kit.worker`. It is ready at once, unless its folder has a file
`hesitate`, and leaves when told to, unless there is a file `cling`."""

import os
import signal
import sys
import time
from pathlib import Path

from service_kit.parent import end_with_parent, tell_ready

FOLDER = "TEST_WORKER_FOLDER"
INDEX = "WORKER_INDEX"
POLL_SECONDS = 0.01


def main() -> None:
    folder, index = Path(os.environ[FOLDER]), os.environ[INDEX]
    told = False

    def note(what: str) -> None:
        with (folder / "journal").open("a") as journal:
            journal.write(f"{what} {index}\n")

    def tell(*_: object) -> None:
        nonlocal told
        told = True
        note("told")

    signal.signal(signal.SIGTERM, tell)
    end_with_parent()
    note("began")
    ready = False
    while not told or (folder / "cling").exists():
        if not ready and not (folder / "hesitate").exists():
            note("ready")
            tell_ready()
            ready = True
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
    sys.exit(0)
