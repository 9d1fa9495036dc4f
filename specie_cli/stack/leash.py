"""Becomes another program that does not outlive the process that started it, as another user if asked.

    python leash.py PARENT_PID SIGNAL USER PROGRAM [ARGUMENT ...]        USER "-": the same user

Linux sends SIGNAL when the parent dies, however it dies. Elsewhere there is no such thing, and the program runs
unleashed. Runs as a script of its own, before anything else is imported, so that it costs few milliseconds.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
EXIT_PARENT_GONE = 75  # EX_TEMPFAIL of sysexits.h


def main(parent: int, when_parent_dies: int, user: str, command: list[str]) -> None:
    # Everything is imported by now: this interpreter's own files may be out of the other user's reach.
    if user != "-":
        become(user)
    # After the change of user: it would take the leash off again (prctl(2)).
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, when_parent_dies) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the leash was on.
    if os.getppid() != parent:
        sys.exit(EXIT_PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606 - the point of this program


def become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


if __name__ == "__main__":
    main(int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3], sys.argv[4:])
