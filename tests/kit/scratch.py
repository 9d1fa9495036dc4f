"""`python -m tests.kit.scratch COMMAND ...`: runs a command against a throw-away, migrated PostgreSQL server.

The command finds the server as the services and the migrations do, through the environment.
"""

import os
import subprocess
import sys

from tests.kit.postgres import running_server


def main(command: list[str]) -> int:
    with running_server() as server:
        return subprocess.run(command, env=os.environ | server.database().environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
