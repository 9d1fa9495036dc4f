"""A stack's data directory: what stands where in it, and that only one stack uses it at a time."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from specie_cli.stack import system_user
from specie_cli.stack.failure import StackError

# The parts of a stack that was killed end by themselves; the slowest is a service that drains.
LEFTOVERS_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.05


class DataDirectory:
    """Locked from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgresql"
        self.secrets = self.path / "secrets"
        self.service_token = self.secrets / "wallet.token"
        self.envoy_config = self.path / "envoy.yaml"
        self._own_lock = -1
        self.parts_lock = -1
        """Inherited by all parts: who can lock it knows that no part of an earlier stack is left."""

    def open(self) -> None:
        # 0711: PostgreSQL may run as another user and must pass; what is secret inside is closed by itself.
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._own_lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _locked(self._own_lock):
            holder = os.pread(self._own_lock, 20, 0).decode().strip() or "unknown"
            raise StackError(
                f"{self.path} is in use by another `specie up`, process {holder}. Stop it first, or give this one a"
                " --data-dir and a --port of its own."
            )
        os.ftruncate(self._own_lock, 0)
        os.pwrite(self._own_lock, f"{os.getpid()}\n".encode(), 0)
        self.parts_lock = os.open(self.path / "parts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_SECONDS
        while not _locked(self.parts_lock):
            if time.monotonic() > deadline:
                raise StackError(
                    f"Processes of an earlier stack on {self.path} are still running: `fuser {self.path}/parts.lock`."
                )
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        for descriptor in (self.parts_lock, self._own_lock):
            if descriptor != -1:
                os.close(descriptor)
        self.parts_lock = self._own_lock = -1

    def delete(self) -> None:
        system_user.remove_folder(self.postgres)
        shutil.rmtree(self.path)

    def log(self, part: str) -> Path:
        """A new log. The one of the run before is kept beside it."""
        folder = self.path / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        log = folder / f"{part}.log"
        if log.exists():
            log.replace(folder / f"{part}.log.1")
        return log


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all, and only its owner can read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_ready_file(path: Path, content: Mapping[str, object]) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")
