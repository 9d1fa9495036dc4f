"""PostgreSQL refuses to run as root. Who runs it then, and where are files that this user can reach?

A root's home is closed to everybody else, so a stack or a virtual environment below it is out of that user's reach.
Opening the home would be worse than the problem: what PostgreSQL needs goes to a folder of its own instead.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from specie_cli.stack.failure import StackError

# The first that exists runs PostgreSQL. `postgres` is there wherever a distribution's PostgreSQL was installed.
CANDIDATES = ("postgres", "specie")
SHARED_HOME = Path("/var/lib/specie")


def postgres_user(existing_data: Path) -> str | None:
    """The user that PostgreSQL must run as; None: the one who runs this. Data that is there keeps its user."""
    if os.geteuid() != 0:
        return None
    if existing_data.exists() and existing_data.stat().st_uid != 0:
        return pwd.getpwuid(existing_data.stat().st_uid).pw_name
    for name in CANDIDATES:
        if _exists(name):
            return name
    return _created(CANDIDATES[-1])


def can_use(user: str, path: Path) -> bool:
    """Whether this user can read and enter what is there."""
    test = ["/bin/sh", "-c", 'test -r "$0" && test -x "$0"', str(path)]
    entry = pwd.getpwnam(user)
    result = subprocess.run(
        test,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=os.getgrouplist(user, entry.pw_gid),
        check=False,
        cwd="/",
    )
    return result.returncode == 0


def owned_folder(user: str, folder: Path) -> Path:
    """This folder, owned by the user and closed to others. Where the user cannot reach it, a folder below
    SHARED_HOME that `folder` then is a link to, so that moving or deleting the stack's directory stays possible."""
    if not folder.exists():
        # A link whose target is gone: its data is lost, and a new start is not for this program to decide.
        if folder.is_symlink():
            raise StackError(f"{folder} leads to {folder.readlink()}, which is gone. Remove the link to start anew.")
        folder.mkdir(mode=0o700)
    target = folder.resolve()
    _give(user, target)
    if can_use(user, target):
        return target
    if any(target.iterdir()):
        raise StackError(
            f"PostgreSQL runs as user {user}, who cannot enter {target}. Move the data directory to where {user} can."
        )
    home = shared_folder(f"data-{secrets.token_hex(8)}")
    _give(user, home)
    if not can_use(user, home):
        raise StackError(f"PostgreSQL runs as user {user}, who can enter neither {target} nor {home}.")
    target.rmdir()
    folder.symlink_to(home)
    return home


def remove_folder(folder: Path) -> None:
    """What `owned_folder` made, wherever it is."""
    if folder.is_symlink() and folder.resolve().parent == SHARED_HOME:
        shutil.rmtree(folder.resolve())
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def reachable_copy(user: str, root: Path, trees: Sequence[Path], name: str) -> Path:
    """`root`, below which these trees of programs and libraries stand, or, where the user cannot reach them, a folder
    below SHARED_HOME with copies of them in the same places: programs find their libraries by relative paths."""
    if all(can_use(user, tree) for tree in trees):
        return root
    copy = SHARED_HOME / name
    if not copy.exists():
        draft = shared_folder(f"{name}.{secrets.token_hex(8)}")
        for tree in trees:
            shutil.copytree(tree, draft / tree.relative_to(root), symlinks=True)
        # Whatever the umask says, and whatever the originals have: nothing in a wheel is secret.
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        try:
            draft.rename(copy)
        except OSError:  # another stack was quicker
            shutil.rmtree(draft)
    return copy


def shared_folder(name: str) -> Path:
    folder = SHARED_HOME / name
    folder.mkdir(mode=0o755, parents=True)
    # Whatever the umask says, others must be able to pass.
    for path in (SHARED_HOME, folder):
        path.chmod(0o755)
    return folder


def _give(user: str, folder: Path) -> None:
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    folder.chmod(0o700)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _created(name: str) -> str:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        subprocess.run(command, check=False, capture_output=True)
    if not _exists(name):
        raise StackError(
            f"PostgreSQL refuses to run as root, and no user {' or '.join(CANDIDATES)} exists or could be created. "
            "Create one of them, or run this as an ordinary user."
        )
    return name
