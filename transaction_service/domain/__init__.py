"""The ledger's rules: pure, total, standard library only. No clock, no randomness, no I/O."""
