"""Alembic's two trees, one per schema, and the services' roles: `python -m migrations --help`."""
