"""A checkpoint as a file: whoever keeps one finds out when what was sealed before it is changed or cut off."""

from typing import Final

from audit_chain import document
from audit_chain.seal import Seal

KIND: Final = "specie-checkpoint"
VERSION: Final = 1
FIELDS: Final = ("header", "signature")


def written(seal: Seal) -> str:
    """The file's text."""
    return document.written(KIND, VERSION, document.seal_facts(seal))


def read(text: str) -> Seal:
    """What `written` wrote; nobody has vouched for it yet. Raises document.Unreadable."""
    return document.seal_of(document.read(text, KIND, VERSION, FIELDS))
