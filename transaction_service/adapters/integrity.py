"""The integrity port on PostgreSQL."""

from typing import Final

from sqlalchemy import Connection, text

from service_kit.database import Database
from transaction_service.ports import Sums

# One statement, so one snapshot: in a sound ledger each sum is 0 whatever is posted meanwhile. Reads every account.
SUMS: Final = text("""
SELECT (
        SELECT coalesce(jsonb_object_agg(currency, total), '{}')
        FROM (SELECT currency, sum(balance) AS total FROM transactions.account GROUP BY currency) AS of_currency),
    now(), check_time, jsonb_array_length(findings)
FROM transactions.integrity
""")


class SqlIntegrity:
    """Fills transaction_service.ports.Integrity."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(self) -> Sums:
        def work(connection: Connection) -> Sums:
            return Sums(*connection.execute(SUMS).one())

        return await self._database.run(work)
