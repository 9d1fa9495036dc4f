"""transaction_service: owns the money. Accounts, transactions, entries."""
