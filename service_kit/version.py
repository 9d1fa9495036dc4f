"""What version this is. A constant, because an image has no package metadata; a test holds it to pyproject.toml."""

from typing import Final

VERSION: Final = "0.1.0"
