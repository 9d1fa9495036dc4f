"""The ports, filled: PostgreSQL, and memory."""
