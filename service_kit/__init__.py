"""Plumbing that both services share. It knows no domain word and no table."""
