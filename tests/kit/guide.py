"""docs/security.md as a test reads it, and the table of scopes that it must contain."""

from pathlib import Path

from specie.type.v1 import Scope

from service_kit.caller import scope_name
from tests.kit.rpcs import all_rpcs

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- scopes: begin -->\n", "<!-- scopes: end -->"


def scopes_table() -> str:
    """What each scope opens, from the contract."""
    rows = ["| scope | calls |", "| --- | --- |"]
    for scope in Scope.values()[1:]:
        calls = [
            rpc.descriptor.name + " (trusted callers only)" * (rpc.access.trusted_only and scope != Scope.SCOPE_ADMIN)
            for rpc in all_rpcs()
            if rpc.access.scope == scope
        ]
        opens = ", ".join(calls)
        if scope == Scope.SCOPE_ADMIN:
            opens = f"all of the above, and {opens}"
        elif scope == Scope.SCOPE_SERVICE:
            opens += ", among services only: the gateway does not route them"
        rows.append(f"| `{scope_name(scope)}` | {opens} |")
    anybody = ", ".join(rpc.descriptor.name for rpc in all_rpcs() if rpc.access.anybody)
    return "\n".join([*rows, f"| no token | {anybody} |"]) + "\n"


def section(title: str) -> str:
    """The text below this heading, of the second level."""
    return GUIDE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def main() -> None:
    """`python -m tests.kit.guide` writes the table anew."""
    before, _, rest = GUIDE.read_text().partition(BEGIN)
    GUIDE.write_text(before + BEGIN + scopes_table() + rest[rest.index(END) :])


if __name__ == "__main__":
    main()
