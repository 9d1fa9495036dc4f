"""What couriers ask stays a walk along an index, however many deliveries are kept."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.kit.plans import caught, explain
from tests.kit.postgres import Database
from tests.kit.webhooks import Hooks, hooks_on
from transaction_service.adapters.webhook_courier import LOOKED_AT_PER_PRUNED, SqlPost

AT_ONCE = 50
# 30,000 that were taken, of one endpoint, one a second until now.
LOAD = """
INSERT INTO transactions.webhook_delivery (id, endpoint_id, event_id, event_type, subject, wallets, xid, mark_id, state,
    attempts, last_status, last_error, create_time, deliver_time)
SELECT gen_random_uuid(), %s, 'evt_' || n, 'transaction.posted', 'transactions/' || n, '{}', n, gen_random_uuid(), 2,
    1, 204, '', now() - (30000 - n) * interval '1 second', now() - (30000 - n) * interval '1 second'
FROM generate_series(1, 30000) AS n
"""


@pytest.fixture
def hooks(database: Database) -> Iterator[Hooks]:
    with hooks_on(database) as hooks:
        hooks.execute(LOAD, hooks.create().id)
        hooks.execute("ANALYZE transactions.webhook_delivery")
        yield hooks


def test_who_prunes_looks_at_the_oldest_ones_only(hooks: Hooks, database: Database) -> None:
    post = SqlPost(hooks.endpoints._database, "courier-1")
    with caught() as statements:
        assert asyncio.run(post.prune(30, AT_ONCE)) == 0
    plans = [explain(database.transaction_dsn, statement) for statement in statements if "DELETE" in statement]
    assert len(plans) == 2
    assert all(plan.rows <= 2 * LOOKED_AT_PER_PRUNED * AT_ONCE for plan in plans), plans
