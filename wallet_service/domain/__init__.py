"""What a wallet is and what may become of it: pure, total. No clock, no randomness, no I/O."""
