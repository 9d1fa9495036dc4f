"""The two trees of migrations, and what the services' roles may and may not do."""

import psycopg2
import pytest

from tests.kit.postgres import Database, migrate, run_migrations
from tests.kit.tampering import unguarded
from transaction_service.domain.identity import account_id, label_id


def execute(dsn: str, statement: str) -> None:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    migrate(database, "check")


def test_down_to_nothing_and_up_again(database: Database) -> None:
    migrate(database, "downgrade", "base")
    for table in ("wallets.wallet", "transactions.account"):
        with pytest.raises(psycopg2.errors.UndefinedTable):
            execute(database.owner_dsn, f"SELECT FROM {table}")
    migrate(database, "upgrade")
    migrate(database, "check")


PENDING = """
INSERT INTO transactions.transaction (id, kind, state, source, destination, amount, currency, description,
    external_reference, labels, principal, request_id, trace_id, fingerprint, create_time, decide_time, terms)
VALUES (gen_random_uuid(), 1, 3, 'wallets/a', 'wallets/b', 1, 'USD', '', '', '{}', 'p', 'r', '', gen_random_uuid(),
    now(), now(), '{"deferred": true}')
"""
ACTS = [
    ("transaction", "transactions", "0004", "payouts/a"),
    ("wallet", "wallets", "0001", "wallets/a"),
]
LABELLED = """
INSERT INTO transactions.transaction (id, kind, state, source, destination, amount, currency, description,
    external_reference, labels, principal, request_id, trace_id, fingerprint, failure_reason, create_time, post_time)
SELECT gen_random_uuid(), 1, 2, 'wallets/a', 'wallets/b', 1, 'USD', '', '', jsonb_build_object('n', n::text), 'p',
    n::text, '', gen_random_uuid(), 'SOURCE_NOT_FOUND', now(), NULL FROM generate_series(1, 2500) AS n
"""


def test_a_step_down_that_would_lose_a_pending_transfer_is_refused(database: Database) -> None:
    execute(database.owner_dsn, PENDING)
    try:
        result = run_migrations(database, "downgrade", "--tree", "transaction", "0001")
        assert result.returncode != 0
        assert "they would be lost" in result.stderr
    finally:
        migrate(database, "upgrade")  # the steps before it were taken
        with unguarded(database.owner_dsn) as cursor:
            cursor.execute("DELETE FROM transaction")
    migrate(database, "check")


@pytest.mark.parametrize(("tree", "schema", "revision", "subject"), ACTS)
def test_a_step_down_that_would_lose_acts_is_refused(
    database: Database, tree: str, schema: str, revision: str, subject: str
) -> None:
    row = f"('{subject}', 1, 'CREATE', '{{}}', '{{}}', 'ann', '', '', now())"
    execute(database.owner_dsn, f"INSERT INTO {schema}.act VALUES {row}")  # noqa: S608 - our own words
    try:
        result = run_migrations(database, "downgrade", "--tree", tree, revision)
        assert result.returncode != 0
        assert "there are acts on record" in result.stderr
    finally:
        migrate(database, "upgrade")
        with unguarded(database.owner_dsn, schema) as cursor:
            cursor.execute("TRUNCATE act")
    migrate(database, "check")


def test_what_was_there_before_is_listed_by_account_and_by_label(database: Database) -> None:
    migrate(database, "downgrade", "--tree", "transaction", "0001")
    execute(database.owner_dsn, LABELLED)
    migrate(database, "upgrade", "--tree", "transaction")
    with unguarded(database.owner_dsn) as cursor:
        cursor.execute("SELECT key::text, count(*) FROM listing GROUP BY key")
        listed = dict(cursor.fetchall())
        cursor.execute("TRUNCATE transaction, listing")
    wallets = {account_id("wallets/a"): 2500, account_id("wallets/b"): 2500}
    assert listed == wallets | {label_id("n", str(n)): 1 for n in range(1, 2501)}


def test_one_step_down_needs_a_tree(database: Database) -> None:
    result = run_migrations(database, "downgrade", "-1")
    assert result.returncode == 1
    assert "--tree" in result.stderr
    migrate(database, "downgrade", "--tree", "wallet", "-1")
    assert "Target database is not up to date" in run_migrations(database, "check").stderr
    migrate(database, "upgrade", "--tree", "wallet")


def test_roles_can_be_made_again_with_new_passwords(database: Database) -> None:
    user, _, address = database.wallet_dsn.partition("@")
    changed = Database(database.owner_dsn, f"{user}-new@{address}", database.transaction_dsn)
    try:
        migrate(changed, "roles")
        execute(changed.wallet_dsn, "SELECT 1")
        with pytest.raises(psycopg2.OperationalError):
            execute(database.wallet_dsn, "SELECT 1")
    finally:
        migrate(database, "roles")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("wallet", "SELECT FROM transactions.account"),
        ("wallet", "INSERT INTO transactions.entry DEFAULT VALUES"),
        ("wallet", "CREATE TABLE wallets.mine ()"),
        ("wallet", "DROP TABLE wallets.wallet"),
        ("wallet", "CREATE SCHEMA mine"),
        ("transaction", "SELECT FROM wallets.wallet"),
        ("transaction", "UPDATE transactions.entry SET amount = 1"),
        ("transaction", "DELETE FROM transactions.entry"),
        ("transaction", "TRUNCATE transactions.entry"),
        ("transaction", "DELETE FROM transactions.account"),
        ("transaction", "CREATE TABLE transactions.mine ()"),
    ],
)
def test_a_service_role_may_not(database: Database, role: str, statement: str) -> None:
    dsn = database.wallet_dsn if role == "wallet" else database.transaction_dsn
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(dsn, statement)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Database("", "", ""), "SPECIE_OWNER_DSN is set"),
        (Database("nonsense with a secret", "", ""), "not of the form"),
        (Database("postgresql://owner:secret@127.0.0.1:1/x", "", ""), "Connection refused"),
    ],
)
def test_a_wrong_dsn_is_said_without_its_password(broken: Database, message: str) -> None:
    result = run_migrations(broken, "upgrade")
    assert result.returncode == 1
    assert message in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_cannot_be_given_the_owners_role(database: Database) -> None:
    result = run_migrations(Database(database.owner_dsn, database.owner_dsn, database.transaction_dsn), "roles")
    assert result.returncode == 1
    assert "must name the role specie_wallet" in result.stderr
