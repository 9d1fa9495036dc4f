"""The check's ports on PostgreSQL: a step or a page is one transaction, which holds a lock of its own, looks, and keeps
what it has seen. Nothing that postings want is locked."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg2 import errorcodes
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service_kit.database import Database
from transaction_service.adapters import integrity_statements as statements
from transaction_service.adapters.sealing import NONE_DONE, SUMMARIZE
from transaction_service.adapters.writes import array
from transaction_service.domain.identity import account_id
from transaction_service.integrity.findings import FINDINGS_MAX, Broken, Check, Finding, merged, still_there
from transaction_service.integrity.ports import Checked, Lap, Page, Step

log = structlog.stdlib.get_logger()

TIME_PAGE: Final = 10_000
"""Transactions of a page of the lap."""
ACCOUNTS_PAGE: Final = 2000
"""Accounts of a page: an empty one costs some 10 us, for it may have holds."""
ENTRIES_PAGE: Final = 20_000
"""Entries of a page."""
LOOKED_UP_MAX: Final = 1000
"""Entries of others in the time of what is looked at: of so many of them the transaction is looked up."""
HOLDS_MAX: Final = 1000
"""An account with more open holds than this has them summed by the lap only, not whenever one of them is new."""
FIRST, LAST = str(UUID(int=0)), str(UUID(int=2**128 - 1))
_BOUNDS: Final = {"findings_max": FINDINGS_MAX, "looked_up_max": LOOKED_UP_MAX}
_PAGE: Final = {"accounts": ACCOUNTS_PAGE, "entries": ENTRIES_PAGE, "findings_max": FINDINGS_MAX}


class SqlChecks:
    """Fills transaction_service.integrity.ports.Checks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._summarized = NONE_DONE

    async def look_at_new(self, limit: int) -> Step | None:
        self._summarized = await self._database.run(self._summarize)
        return await self._database.run(lambda connection: _look_at_new(connection, limit))

    async def go_on_with_lap(self, every_seconds: float, rest_per_work: float) -> Page | None:
        return await self._database.run(lambda connection: _go_on_with_lap(connection, every_seconds, rest_per_work))

    def _summarize(self, connection: Connection) -> int:
        """The sealer does so, too; but not everybody has a key to seal with."""
        done: int = connection.execute(SUMMARIZE, {"done": self._summarized}).scalar_one()
        return done


class SqlSoundness:
    """Fills transaction_service.integrity.ports.Soundness."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def checked(self) -> Checked:
        return await self._database.run(_checked)

    async def of_account(self, name: str) -> list[Broken]:
        """Each page in a transaction of its own: entries that are there do not change, and what an account comes to is
        seen with its last ones."""
        id_, found = account_id(name), dict[tuple[Check, str], Broken]()
        begin: tuple[str, int] | None = id_, 0
        while begin is not None:
            page = await self._database.run(
                partial(_page_of_accounts, begin=begin, until_account=id_, with_transactions=True)
            )
            for broken in _broken(page.found):
                found.setdefault((broken.check, broken.subject), broken)
            begin = None if page.next is None else _beginning_of(page.next)
        return [*found.values()]


def _look_at_new(connection: Connection, limit: int) -> Step | None:
    state = _taken(connection)
    if state is None:
        return None
    connection.exec_driver_sql(statements.PLANNER)
    values = {
        "after_xid": state.until_xid,
        "after_id": state.until_id,
        "limit": limit,
        **_BOUNDS,
    }
    stretch = connection.execute(statements.LOOK_AT_NEW, values).one()
    seen = [*stretch.found]
    if stretch.held_of:
        held = {"ids": array(map(account_id, stretch.held_of)), "holds_max": HOLDS_MAX}
        seen += connection.execute(statements.LOOK_AT_HELD, held).scalar_one()
    findings, new = _merged(state, seen)
    xid, id_ = stretch.until or (state.until_xid, state.until_id)
    place = {"xid": xid, "id": id_}
    looked = {"entries": stretch.entries, "findings": _written(findings)}
    connection.execute(statements.LOOKED_AT_NEW, place | looked)
    lag = connection.execute(statements.LAG, place).scalar_one_or_none()
    return Step(stretch.entries, stretch.transactions == limit, lag or 0.0, len(findings), new)


def _go_on_with_lap(connection: Connection, every_seconds: float, rest_per_work: float) -> Page | None:
    state = _taken(connection)
    if state is None:
        return None
    if state.lap_began is None:
        rest = every_seconds - state.seconds_since_lap_began if state.lap_time is not None else 0.0
        if rest > 0:
            return Page(rest, len(state.findings), (), None)
        return _begin_lap(connection, state, rest_per_work)
    if state.rest_seconds is not None and state.rest_seconds > 0:
        return Page(state.rest_seconds, len(state.findings), (), None)
    if state.lap_account is None:
        return _through_time(connection, state, rest_per_work)
    return _through_accounts(connection, state, rest_per_work)


def _begin_lap(connection: Connection, state: Any, rest_per_work: float) -> Page:  # noqa: ANN401 - a row
    findings, new = _merged(state, _sums_that_are_not_0(connection))
    values = {"rest_per_work": rest_per_work, "findings": _written(findings)}
    rest = connection.execute(statements.BEGIN_LAP, values).scalar_one()
    return Page(rest, len(findings), new, None)


def _sums_that_are_not_0(connection: Connection) -> list[Sequence[str]]:
    """It reads every account at once; with very many of them there is no time for it. Then the lap goes without: that
    what is posted sums to 0, and each balance is the sum of what is posted, it sees all the same."""
    try:
        with connection.begin_nested():
            found: list[Sequence[str]] = connection.execute(statements.LOOK_AT_SUMS).scalar_one()
            return found
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != errorcodes.QUERY_CANCELED:
            raise
        log.warning("integrity_sums_skipped")
        return []


def _through_time(connection: Connection, state: Any, rest_per_work: float) -> Page:  # noqa: ANN401 - a row
    connection.exec_driver_sql(statements.PLANNER)
    place = {"until": state.lap_until, "limit": TIME_PAGE}
    period = connection.execute(statements.LAP_THROUGH_TIME, place | _BOUNDS).one()
    findings, new = _merged(state, period.found)
    went = {"until": period.until, "account": FIRST if period.is_over else None}
    values = {"rest_per_work": rest_per_work, "findings": _written(findings)}
    rest = connection.execute(statements.WENT_THROUGH_TIME, went | values).scalar_one()
    return Page(rest, len(findings), new, None)


def _through_accounts(connection: Connection, state: Any, rest_per_work: float) -> Page:  # noqa: ANN401 - a row
    page = _page_of_accounts(connection, (state.lap_account, state.lap_seq), LAST, with_transactions=False)
    findings, new = _merged(state, page.found)
    if page.next is None:
        kept = still_there(findings, state.lap_began)
        values = {"entries": page.entries, "findings": _written(kept)}
        return Page(0.0, len(kept), new, Lap(*connection.execute(statements.END_LAP, values).one()))
    account, seq = _beginning_of(page.next)
    went = {"account": account, "seq": seq, "entries": page.entries}
    values = {"rest_per_work": rest_per_work, "findings": _written(findings)}
    rest = connection.execute(statements.WENT_THROUGH_ACCOUNTS, went | values).scalar_one()
    return Page(rest, len(findings), new, None)


def _page_of_accounts(
    connection: Connection, begin: Sequence[Any], until_account: str, *, with_transactions: bool
) -> Any:  # noqa: ANN401 - a row
    connection.exec_driver_sql(statements.PLANNER)
    place = {
        "account": begin[0],
        "seq": begin[1],
        "until_account": until_account,
        "with_transactions": with_transactions,
    }
    return connection.execute(statements.LOOK_AT_ACCOUNTS, place | _PAGE).one()


def _beginning_of(next_page: Sequence[Any]) -> tuple[str, int]:
    """Within an account, or, without a number, behind it."""
    account, seq = next_page
    return (account, seq) if seq is not None else (str(UUID(int=UUID(account).int + 1)), 0)


def _checked(connection: Connection) -> Checked:
    row = connection.execute(statements.CHECKED).one()
    return Checked(row.check_time, row.checked_entries, row.lap_time, row.lap_seconds, _findings(row.findings))


def _taken(connection: Connection) -> Any:  # noqa: ANN401 - a row
    """The state as it is, for who has the lock now; None: somebody else has it."""
    if not connection.exec_driver_sql(statements.TRY_LOCK).scalar_one():
        return None
    return connection.execute(statements.STATE).one()


def _merged(state: Any, found: Iterable[Sequence[str]]) -> tuple[list[Finding], list[Finding]]:  # noqa: ANN401 - a row
    return merged(_findings(state.findings), _broken(found), state.now)


def _broken(found: Iterable[Sequence[str]]) -> list[Broken]:
    return [Broken(Check(check), subject, detail) for check, subject, detail in found]


def _findings(rows: Iterable[dict[str, str]]) -> list[Finding]:
    return [
        Finding(
            Broken(Check(row["check"]), row["subject"], row["detail"]),
            datetime.fromisoformat(row["find_time"]),
            datetime.fromisoformat(row["seen_time"]),
        )
        for row in rows
    ]


def _written(findings: Iterable[Finding]) -> str:
    rows = [
        finding.broken._asdict()
        | {"find_time": finding.find_time.isoformat(), "seen_time": finding.seen_time.isoformat()}
        for finding in findings
    ]
    return json.dumps(rows, ensure_ascii=False)
