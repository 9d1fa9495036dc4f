"""Plumbing that both services share. It knows no domain word and no table."""

import sys

# structlog imports rich where it finds it, for consoles that a service has not: 3 MB in every process.
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment] # Python's own way to say that there is none
    import structlog  # noqa: F401 - for what it does not import

    del sys.modules["rich"]
