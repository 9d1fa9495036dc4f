"""The services' database roles. They own nothing: what they may do stands in the migrations, as grants."""

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class with a function's name
from psycopg2.extensions import encrypt_password

from migrations.trees import MigrationError, Tree, url


def ensure(tree: Tree) -> None:
    """Creates the tree's role, or sets its password to the one in the service's DSN. Idempotent."""
    service = url(tree.service_dsn)
    if service.username != tree.role or not service.password:
        raise MigrationError(f"The DSN of the {tree.name} service must name the role {tree.role} and its password.")
    connection = psycopg2.connect(tree.owner_dsn)
    try:
        with connection, connection.cursor() as cursor:
            # Two deployments at once: the second waits and then finds the role.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (tree.role,))
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (tree.role,))
            # A new role can nothing but log in, by PostgreSQL's defaults.
            verb = sql.SQL("CREATE" if cursor.fetchone() is None else "ALTER")
            statement = sql.SQL("{verb} ROLE {role} LOGIN PASSWORD {verifier}")
            cursor.execute(
                statement.format(
                    verb=verb,
                    role=sql.Identifier(tree.role),
                    verifier=sql.Literal(verifier(connection, tree.role, str(service.password))),
                )
            )
            cursor.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(
                    database=sql.Identifier(connection.info.dbname), role=sql.Identifier(tree.role)
                )
            )
    finally:
        connection.close()


def verifier(connection: Connection, role: str, password: str) -> str:
    """The SCRAM hash (RFC 5802), so that the server neither sees nor logs the password."""
    return encrypt_password(password, role, connection, "scram-sha-256")
