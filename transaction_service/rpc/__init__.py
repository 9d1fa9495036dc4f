"""The contract's face: thin servicers, conversion, and the words of errors."""
