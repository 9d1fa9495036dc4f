"""README.md as a test reads it: its fenced blocks, and the table of settings that it must contain."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import PydanticUndefined

from service_kit.settings import ServiceSettings
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"
NOT_FOR_USERS = {"worker_index"}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str


def blocks(document: Path = README) -> list[Block]:
    return [
        Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)
    ]


def settings_table() -> str:
    """Every setting of both services: its name, its default in each, and what it does."""
    rows = ["| setting | wallet | transaction | what it does |", "| --- | --- | --- | --- |"]
    wallet, transaction = WalletSettings.model_fields, TransactionSettings.model_fields
    shared = [name for name in ServiceSettings.model_fields if name not in NOT_FOR_USERS]
    own = [name for fields in (wallet, transaction) for name in fields if name not in ServiceSettings.model_fields]
    for name in (*shared, *own):
        field = transaction.get(name) or wallet[name]
        defaults = [_default(WalletSettings, name), _default(TransactionSettings, name)]
        rows.append(f"| `{name.upper()}` | {defaults[0]} | {defaults[1]} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(settings: type[ServiceSettings], name: str) -> str:
    field = settings.model_fields.get(name)
    if field is None:
        return ""
    if field.default is PydanticUndefined:
        return "required"
    default = field.default
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> None:
    """`python -m tests.kit.readme` writes the table anew."""
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + settings_table() + rest[rest.index(END) :])


if __name__ == "__main__":
    main()
