"""Transfers from JSON Lines: a TransferRequest a line, with the names that the contract gives in JSON."""

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from google.protobuf.json_format import ParseDict, ParseError
from specie.transaction.v1 import TransferRequest

from specie_cli.imports.lines import BadLine, Lines
from specie_cli.imports.row import Broken, Flaw, Row
from specie_cli.imports.rules import flaws_of
from specie_cli.wallets import name_of

REJECTED: Final = "rejected"
"""What a file of rejected lines has in addition; it is not read."""
NUMBERS: Final = frozenset({"minorUnits", "basisPoints"})
MINOR_UNITS: Final = "write whole minor units: 2500 is 25.00 USD"


class JsonRows(Iterator[Row | Broken]):
    header: ClassVar[list[str]] = []
    """It has none."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __next__(self) -> Row | Broken:
        while True:
            try:
                line = next(self._lines)
            except BadLine as bad:
                return self._broken([("", bad.text)])
            if line.strip():
                return self._row(line.strip())

    def _row(self, line: str) -> Row | Broken:
        try:
            values = json.loads(line, object_pairs_hook=_each_once)
        except json.JSONDecodeError as error:
            return self._broken([("", f"is no JSON at its character {error.colno}: {error.msg}")])
        except (ValueError, RecursionError) as error:
            return self._broken([("", f"is no JSON that can be read: {error}")])
        if not isinstance(values, dict):
            return self._broken([("", 'must be one object: {"source": "wallets/alice", ...}')])
        values.pop(REJECTED, None)
        request = TransferRequest()
        try:
            ParseDict(_with_names(values), request)
        except ParseError as error:
            flaws = [_explained(str(error))]
        else:
            flaws = _loose_numbers(values) or flaws_of(request, _name)
        return self._broken(flaws, line) if flaws else Row(self._lines.number, request, line)

    def _broken(self, flaws: list[tuple[str, str]], original: str = "") -> Broken:
        line = self._lines.number
        return Broken(line, [Flaw(line, *flaw) for flaw in flaws], original)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that stands twice the last would be taken, and so it would of the two names that a field has,
    `minor_units` and `minorUnits`."""
    names = [_camel(name) for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name, _ in pairs if names.count(_camel(name)) > 1)
        raise ValueError(f'"{twice}" stands twice')
    return dict(pairs)


def _loose_numbers(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Numbers in quotes that Python reads, but JSON's readers elsewhere do not: 1_000, +5, arabic digits."""
    return [
        (f"{part}.{_camel(name)}", f'"{value}" is no whole number; write the digits 0-9 alone')
        for part in ("amount", "fee")
        for name, value in (values.get(part) or {}).items()
        if _camel(name) in NUMBERS and isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value)
    ]


def _with_names(values: dict[str, Any]) -> dict[str, Any]:
    """`alice` is `wallets/alice`, also as who gets the fee."""
    named = {name: name_of(value) if _is_wallet(name, value) else value for name, value in values.items()}
    fee = named.get("fee")
    if isinstance(fee, dict) and _is_wallet("destination", fee.get("destination")):
        named["fee"] = fee | {"destination": name_of(fee["destination"])}
    return named


def _is_wallet(name: str, value: object) -> bool:
    return name in {"source", "destination"} and isinstance(value, str) and value != ""


def _explained(error: str) -> tuple[str, str]:
    """The field and what is wrong with it, from the words of the parser."""
    fields = re.findall(r"Failed to parse (\w+) field: ", error)
    path, text = ".".join(fields), re.sub(r"Failed to parse \w+ field: ", "", error.partition("\n")[0])
    text = re.sub(r' at "?TransferRequest[\w."]*$', "", text).rstrip(".")
    unknown = re.search(r'has no field named "(.*?)"', text)
    if unknown:
        known = re.search(r"Available Fields\(except extensions\): \"\[(.*?)\]", error)
        names = known[1].replace("'", "") if known else ""
        return ".".join([*fields, unknown[1]]), f"is no field that there is; there are {names}"
    if "Couldn't parse" in text and fields[-1:] and fields[-1].endswith("nits"):
        return path, f"{text.partition(': ')[2] or text} is no whole number; {MINOR_UNITS}"
    if fields == ["amount"]:
        return path, 'must be an object: {"currencyCode": "USD", "minorUnits": 2500}'
    return path, text


def _name(path: str, key: str) -> str:
    """`amount.currency_code` as JSON calls it."""
    return f'{_camel(path)}["{key}"]' if key else _camel(path)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
