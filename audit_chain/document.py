"""Files that auditors keep, as JSON: strict, so that each has one form only and what is in it is all that counts."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from audit_chain.seal import Seal

SIGNATURE_BYTES: Final = 64


class Unreadable(ValueError):  # noqa: N818 - what it is, in plain words
    """The text is no such document. The message says why."""


def written(kind: str, version: int, facts: Mapping[str, object]) -> str:
    """`kind`, for example `specie-proof`; several lines, the last one ended."""
    return json.dumps({"format": f"{kind} {version}", **facts}, indent=2, ensure_ascii=False) + "\n"


def read(text: str, kind: str, version: int, fields: Sequence[str]) -> Mapping[str, Any]:
    """The values of exactly these fields. Raises Unreadable."""
    try:
        document = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"this is no {kind}: it is not JSON with each field once") from error
    named = document.get("format") if isinstance(document, dict) else None
    found = re.fullmatch(rf"{kind} ([1-9][0-9]{{0,8}})", named) if isinstance(named, str) else None
    if found is None:
        raise Unreadable(f"this is no {kind}: it does not say that it is")
    if int(found[1]) != version:
        raise Unreadable(f"this is a {kind} of version {found[1]}, and only version {version} is known here")
    facts = {name: value for name, value in document.items() if name != "format"}
    if facts.keys() != set(fields):
        raise Unreadable(f"a {kind} has the fields {', '.join(fields)}, and this has {', '.join(sorted(facts))}")
    return facts


def text_of(facts: Mapping[str, Any], name: str) -> str:
    """Raises Unreadable."""
    value = facts[name]
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unreadable(f"{name} is no text")
    return value


def bytes_of(value: object, length: int, name: str) -> bytes:
    """Of hexadecimal digits in lower case, so that there is one way only to write them. Raises Unreadable."""
    if not isinstance(value, str) or re.fullmatch(f"[0-9a-f]{{{2 * length}}}", value) is None:
        raise Unreadable(f"{name} is not {2 * length} hexadecimal digits in lower case")
    return bytes.fromhex(value)


def seal_facts(seal: Seal) -> dict[str, object]:
    """As fields of a document."""
    return {"header": seal.header, "signature": seal.signature.hex()}


def seal_of(facts: Mapping[str, Any]) -> Seal:
    """From those fields. Raises Unreadable."""
    return Seal(text_of(facts, "header"), bytes_of(facts["signature"], SIGNATURE_BYTES, "signature"))


def _once_each(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found
