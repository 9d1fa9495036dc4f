"""Lists of things with names: read page by page, so many of them, and each shown in a few lines."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Annotated, Final, Protocol, TypeVar

import typer
from google.protobuf.message import Message

from specie_cli import show
from specie_cli.ending import messages
from specie_cli.gateway import CALL_TIMEOUT_SECONDS
from specie_cli.reports.output import written

PAGE_SIZE: Final = 1000
LIMIT: Final = 100

Limit = Annotated[int, typer.Option(min=0, help="How many at most, the newest; 0: all")]

M = TypeVar("M", bound=Message)


class _Paged(Protocol):
    """A request for a page."""

    page_token: str


R = TypeVar("R", bound=_Paged)


def full_name(collection: str, name: str) -> str:
    """`alice` and `wallets/alice` are the same in `wallets/`."""
    return name if name.startswith(collection) else collection + name


def page_size(limit: int) -> int:
    """One more than is shown tells that there are more."""
    return min(PAGE_SIZE, limit + 1) if limit else PAGE_SIZE


def pages(call: Callable[..., Message], request: R, of: Callable[..., Iterable[M]]) -> Iterator[M]:
    """To the last page."""
    while True:
        page = call(request, timeout=CALL_TIMEOUT_SECONDS)
        yield from of(page)
        request.page_token = page.next_page_token  # type: ignore[attr-defined] # every page has it
        if not request.page_token:
            return


def at_most(limit: int, found: Iterator[M]) -> Iterator[M]:
    """The first ones; a person is told when there are more. `limit`: 0: all of them."""
    yield from islice(found, limit) if limit else found
    if next(found, None) is not None:
        messages().print(f"There are more than these {limit}; --limit says how many to list, and 0 is all.")


def in_lines(found: Iterable[M], lines: Callable[[M], Iterable[str]]) -> None:
    """Short lines, which no terminal breaks and a search finds whole. Raises OSError."""
    some = False
    with written(None) as output:
        for message in found:
            some = True
            output.writelines(f"{show.plain(line).plain}\n" for line in lines(message))
    if not some:
        messages().print("There is none.")
