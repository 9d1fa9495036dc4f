"""What is generated from the contract: `python -m proto.generate`."""
