"""Wallets: whose they are, what may be done with them, and the way they go from one state to the next."""
