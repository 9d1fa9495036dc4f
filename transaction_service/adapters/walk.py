"""Pages of what lies along several indexes at once.

A walk goes down one index and gives ids; what stands under the ids is fetched by primary key, and there the filters are
applied. So no query reads more than a bounded number of rows, whatever the filters let through: where they let little
through, a page comes short, with the place to go on from (AIP-158).

All of a page must see one snapshot: what changes its place meanwhile would be met twice or never.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from service_kit.pages import refused
from transaction_service.ports import Position

T = TypeVar("T")

STEPS_MAX: Final = 500
"""What one query takes where the filters let little through."""
WALKED_MAX: Final = 5000
"""Steps that one page takes: some tens of milliseconds of the database."""
END: Final[Position] = []
"""The place behind which nothing is."""
PLACE_LENGTH: Final = 2


class Step(NamedTuple):
    """One row of an index. `place` is two values of JSON, the second the id."""

    time: datetime
    id: str
    place: Position


class Walk(Protocol):
    """One index."""

    def steps(self, connection: Connection, after: Position | None, limit: int) -> list[Step]:
        """The next ones; fewer than the limit: there are no more. Raises Refusal INVALID_PAGE_TOKEN for a place that no
        step of it has had."""

    def before(self, first: Step) -> Position:
        """The place just before the walk's first step."""


Page = tuple[list[T], Position | None]


def page(
    connection: Connection,
    walks: Sequence[Walk],
    after: Position | None,
    limit: int,
    find: Callable[[Sequence[str]], Mapping[str, T]],
) -> Page[T]:
    """What `find` gives for the ids along the walks, the latest first, and where the page ends in each walk.

    A single walk keeps its own order. `find` leaves out what the filters do not let through.
    """
    strands = [_Strand(walk, connection, place) for walk, place in zip(walks, _places(walks, after), strict=True)]
    found: list[T] = []
    walked, wanted = 0, limit + 1
    while walked < WALKED_MAX:
        steps = list(_merged(strands, wanted))
        if not steps:
            return found, None
        matching = find([step.id for _, step in steps])
        for strand, step in steps:
            match = matching.get(step.id)
            if match is not None:
                if len(found) == limit:
                    return found, [strand.place for strand in strands]
                found.append(match)
            strand.place = step.place
        walked, wanted = walked + len(steps), STEPS_MAX
    return found, [strand.place for strand in strands]


def _places(walks: Sequence[Walk], after: Position | None) -> Sequence[Position | None]:
    """Positions come from outside and may be anything."""
    match after:
        case None:
            return [None] * len(walks)
        case [*places] if len(places) == len(walks) and all(map(_is_place, places)):
            return places
    raise refused()


def _is_place(value: object) -> bool:
    return isinstance(value, list) and len(value) in (0, PLACE_LENGTH)


def _merged(strands: Sequence["_Strand"], limit: int) -> Iterator[tuple["_Strand", Step]]:
    for _ in range(limit):
        heads = [(strand, head) for strand in strands if (head := strand.head(limit)) is not None]
        if not heads:
            return
        strand, step = max(heads, key=_time)
        strand.take()
        yield strand, step


def _time(head: tuple["_Strand", Step]) -> datetime:
    return head[1].time


class _Strand:
    """A walk that is under way. `place`: behind the last step that the page has used up."""

    def __init__(self, walk: Walk, connection: Connection, after: Position | None) -> None:
        self.place: Position = END if after is None else after
        self._walk = walk
        self._connection = connection
        self._after = after
        self._ahead: deque[Step] = deque()
        self._ended = after == END
        self._last_id = after[1] if after else None

    def head(self, limit: int) -> Step | None:
        while not self._ahead and not self._ended:
            self._fetch(limit)
        return self._ahead[0] if self._ahead else None

    def take(self) -> None:
        self._ahead.popleft()

    def _fetch(self, limit: int) -> None:
        steps = self._walk.steps(self._connection, self._after, limit)
        self._ended = len(steps) < limit
        if self._after is None and steps:
            # A walk that gives nothing to this page goes on from here: what comes meanwhile is newer than the page.
            self.place = self._walk.before(steps[0])
        for step in steps:
            self._after = step.place
            if step.id != self._last_id:  # several entries of one transaction are neighbours
                self._ahead.append(step)
            self._last_id = step.id
