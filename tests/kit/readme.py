"""README.md as a test reads it: its fenced blocks, and the table of settings that it must contain."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import PydanticUndefined

from service_kit.settings import ProcessSettings, ServiceSettings
from transaction_service.back_office.settings import BackOfficeSettings
from transaction_service.settings import TransactionSettings
from wallet_service.settings import WalletSettings

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"
NOT_FOR_USERS = {"worker_index"}
PROCESSES: tuple[type[ProcessSettings], ...] = (WalletSettings, TransactionSettings, BackOfficeSettings)
DESCRIBED = (TransactionSettings, WalletSettings, BackOfficeSettings)
"""Whose words come first, where they differ."""


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
    """Every setting of every process: its name, its default in each, and what it does."""
    rows = ["| setting | wallet | transaction | back office | what it does |", "| --- | --- | --- | --- | --- |"]
    names = dict.fromkeys(ServiceSettings.model_fields) | dict.fromkeys(n for p in PROCESSES for n in p.model_fields)
    for name in names:
        if name not in NOT_FOR_USERS:
            described = next(p.model_fields[name] for p in DESCRIBED if name in p.model_fields).description
            defaults = " | ".join(_default(process, name) for process in PROCESSES)
            rows.append(f"| `{name.upper()}` | {defaults} | {described} |")
    return "\n".join(rows) + "\n"


def _default(settings: type[ProcessSettings], name: str) -> str:
    field = settings.model_fields.get(name)
    if field is None:
        return ""
    if field.default is PydanticUndefined:
        return "required"
    default = field.default
    return f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"


def main() -> None:
    """`python -m tests.kit.readme` writes the table anew."""
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + settings_table() + rest[rest.index(END) :])


if __name__ == "__main__":
    main()
