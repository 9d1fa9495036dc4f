"""PostgreSQL, memory and gRPC behind the ports."""
