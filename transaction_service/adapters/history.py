"""What an account had at a time, found by its entries' numbers.

Post time never goes back along them, so the last entry before a time is found by halving: some twenty rows of the
primary key for a million entries, and no index by time on the table that grows most.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Connection, ScalarSelect, and_, case, cast, func, select

from transaction_service.adapters import tables
from transaction_service.adapters.tables import entry
from transaction_service.ports import PastBalance, Period


def seq_before(account: str, time: datetime, *, inclusive: bool = False) -> ScalarSelect[int]:
    """The number of the account's last entry before this time, or at it if `inclusive`; 0: there is none.

    One recursive query: `low` is 0 or an entry that is early enough, behind `high` none is.
    """
    search = select(cast(0, BigInteger).label("low"), last_seq(account).label("high")).cte(recursive=True)
    middle = entry.alias()
    early = middle.c.post_time <= time if inclusive else middle.c.post_time < time
    found = and_(middle.c.account_id == account, middle.c.seq == (search.c.low + search.c.high + 1) // 2)
    search = search.union_all(
        select(case((early, middle.c.seq), else_=search.c.low), case((early, search.c.high), else_=middle.c.seq - 1))
        .select_from(search.join(middle, found))
        .where(search.c.low < search.c.high)
    )
    return select(search.c.low).where(search.c.low == search.c.high).scalar_subquery()


def last_seq(account: str) -> ScalarSelect[int]:
    """The number of the account's last entry; 0: it has none."""
    return select(func.coalesce(func.max(entry.c.seq), 0)).where(entry.c.account_id == account).scalar_subquery()


def balance_at(connection: Connection, account: str, time: datetime) -> PastBalance | None:
    """None: the time is still to come. Not on one snapshot: it waits for a posting that is under way."""
    seq = _settled(connection, account, time, inclusive=True)
    return None if seq is None else _balance_after(connection, account, seq)


def period(connection: Connection, account: str, start: datetime | None, end: datetime | None) -> Period | None:
    """As LedgerReader.period. Not in a transaction of one snapshot, as above."""
    if end is None:
        end = connection.execute(select(func.clock_timestamp())).scalar_one()
    last = _settled(connection, account, end)
    if last is None:
        return None
    first = 0 if start is None else connection.execute(select(seq_before(account, start))).scalar_one()
    return Period(_balance_after(connection, account, first), _balance_after(connection, account, last), end)


def _settled(connection: Connection, account: str, time: datetime, *, inclusive: bool = False) -> int | None:
    """As seq_before, once no posting can change it any more. None: the time is still to come.

    An entry after the time proves that none can come before it any more. Without one, a posting whose time is read may
    not have committed yet: then the account's row is locked, as postings do before they read the clock.
    """
    place = select(
        seq_before(account, time, inclusive=inclusive).label("seq"),
        last_seq(account).label("last"),
        func.clock_timestamp().label("now"),
    )
    seq, last, now = connection.execute(place).one()
    if now < time:
        return None
    if seq == last:
        row = select(tables.account.c.id).where(tables.account.c.id == account)
        # Not FOR SHARE: a steady stream of readers would never let a lane get its turn.
        connection.execute(row.with_for_update())
        seq, _, _ = connection.execute(place).one()
    return int(seq)


def _balance_after(connection: Connection, account: str, seq: int) -> PastBalance:
    balance = select(entry.c.balance).where(entry.c.account_id == account, entry.c.seq == seq)
    return PastBalance(connection.execute(balance).scalar_one(), seq) if seq else PastBalance()
