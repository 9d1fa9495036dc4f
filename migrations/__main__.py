"""Migrates the database: `python -m migrations roles`, then `upgrade`. Settings come from the environment."""

import argparse
import sys
from collections.abc import Sequence

import psycopg2
from alembic import command
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from migrations import roles
from migrations.trees import TREES, MigrationError, Tree

EXIT_FAILED = 1
ENVIRONMENT = """\
environment:
  SPECIE_OWNER_DSN                  the role that owns the schemas, for both trees
  SPECIE_WALLET_OWNER_DSN           the same for one tree, where each has its own server
  SPECIE_TRANSACTION_OWNER_DSN
  SPECIE_WALLET_DATABASE_DSN        of the services themselves: `roles` gives the roles these passwords
  SPECIE_TRANSACTION_DATABASE_DSN
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    trees = [TREES[options.tree]] if options.tree else list(TREES.values())
    try:
        for tree in trees:
            run(options, tree, only=len(trees) == 1)
    except (MigrationError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (psycopg2.Error, DBAPIError) as error:
        # Only the driver's own line: SQLAlchemy's adds the statement with its parameters.
        cause = error.orig if isinstance(error, DBAPIError) else error
        print(f"error: {str(cause).strip()}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def run(options: argparse.Namespace, tree: Tree, *, only: bool) -> None:
    # `heads` and `base` mean something in every tree.
    if getattr(options, "revision", "base") not in ("heads", "base") and not only:
        raise MigrationError("A revision belongs to one tree: name it with --tree.")
    match options.command:
        case "roles":
            roles.ensure(tree)
        case "upgrade":
            command.upgrade(tree.config(), options.revision)
        case "downgrade":
            command.downgrade(tree.config(), options.revision)
        case "check":
            command.check(tree.config())
        case "current":
            command.current(tree.config(), verbose=True)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m migrations",
        description=__doc__,
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--tree", choices=list(TREES), help="only this one (default: both)")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("roles", parents=[common], help="create the services' roles, or set their passwords")
    upgrade = commands.add_parser("upgrade", parents=[common], help="migrate up")
    upgrade.add_argument("revision", nargs="?", default="heads", help="default: the newest")
    downgrade = commands.add_parser("downgrade", parents=[common], help="migrate down")
    downgrade.add_argument("revision", help="`base` for an empty schema, or -1 for one step")
    commands.add_parser("check", parents=[common], help="fail when the tables in the code and the migrations differ")
    commands.add_parser("current", parents=[common], help="print where each tree stands")
    return top


if __name__ == "__main__":
    sys.exit(main())
