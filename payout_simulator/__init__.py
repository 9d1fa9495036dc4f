"""A reference bank: specie.payout.v1.PayoutProvider in a process of its own, with faults that can be switched on."""
