"""The whole of Specie on one machine, in one process tree: PostgreSQL, migrations, services, Envoy."""
