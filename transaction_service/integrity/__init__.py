"""The books are checked, always: what must hold of them, how far the check has come, and what it has found."""

from transaction_service.integrity.sums import LatestSums

__all__ = ["LatestSums"]
