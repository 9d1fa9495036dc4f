"""The `specie` command: the local stack, and wallets and money through the gateway."""
