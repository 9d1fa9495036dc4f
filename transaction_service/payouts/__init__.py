"""Payouts: what is to be paid to the outside is paid once, or given back once."""
