"""A report that breaks off is taken up where it was, and one that does not add up is never taken for whole."""

from collections.abc import Iterator, Sequence

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from specie.transaction.v1 import (
    Entry,
    ReportClosing,
    ReportEntriesRequest,
    ReportEntriesResponse,
    ReportOpening,
)
from specie.type.v1 import Money

from specie_cli.breaks import PAUSES_SECONDS
from specie_cli.reports.reading import Unsound, read
from tests.kit.broken import Broken

END = Timestamp(seconds=1_800_000_000)


def entry(sequence: int, amount: int = 1, balance: int | None = None) -> Entry:
    told = 100 + sequence - 2 if balance is None else balance
    return Entry(sequence=sequence, amount=Money(minor_units=amount), balance=Money(minor_units=told))


OPENING = ReportOpening(balance=Money(minor_units=100), sequence=2, entry_count=4, end_time=END)
CLOSING = ReportClosing(balance=Money(minor_units=104), sequence=6, entry_count=4)
WHOLE = [
    ReportEntriesResponse(opening=OPENING),
    ReportEntriesResponse(entries=[entry(3), entry(4)]),
    ReportEntriesResponse(entries=[entry(5), entry(6)]),
    ReportEntriesResponse(closing=CLOSING),
]


Answer = Sequence[ReportEntriesResponse | Exception]


class Service:
    """Answers each call with the next of these: messages, and errors where the stream breaks off."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.asked: list[ReportEntriesRequest] = []
        self.pauses: list[float] = []

    def call(self, request: ReportEntriesRequest) -> Iterator[ReportEntriesResponse]:
        asked = ReportEntriesRequest()
        asked.CopyFrom(request)
        self.asked.append(asked)
        for each in next(self._answers):
            if isinstance(each, Exception):
                raise each
            yield each

    def read(self) -> list[ReportEntriesResponse]:
        return list(read(self.call, ReportEntriesRequest(wallet="wallets/alice"), self.pauses.append))


def gone(code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> Broken:
    return Broken(code)


def test_a_whole_report_comes_as_it_is() -> None:
    service = Service(WHOLE[:])
    assert service.read() == WHOLE
    assert service.pauses == []


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED", "UNKNOWN"])
@pytest.mark.parametrize("came", [1, 2, 3])
def test_one_that_breaks_off_goes_on_after_the_last_entry(came: int, code: str) -> None:
    first: Answer = [*WHOLE[:came], gone(grpc.StatusCode[code])]
    service = Service(first, [WHOLE[0], *WHOLE[came:]])
    assert service.read() == WHOLE
    assert (service.asked[1].after_sequence, service.asked[1].end_time) == (2 * came, END)
    assert service.pauses == [PAUSES_SECONDS[0]]


def test_patience_ends_without_an_entry_and_begins_anew_with_one() -> None:
    silent: Answer = [WHOLE[0], gone()]
    service = Service(*[silent] * len(PAUSES_SECONDS), [*WHOLE[:2], gone()], *[[gone()]] * len(PAUSES_SECONDS))
    with pytest.raises(Broken):
        service.read()
    assert service.pauses == [*PAUSES_SECONDS, *PAUSES_SECONDS]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([gone()], "it could not begin"),
        ([*WHOLE[:2], Broken(grpc.StatusCode.INTERNAL, rich=True)], "the service says it is broken"),
        ([*WHOLE[:2], gone(grpc.StatusCode.UNAUTHENTICATED)], "the token has expired"),
    ],
)
def test_what_another_attempt_does_not_mend_is_raised(answer: Answer, why: str) -> None:
    service = Service(answer)
    with pytest.raises(Broken):
        service.read()
    assert service.pauses == [], why


OTHER = ReportOpening(balance=Money(minor_units=101), sequence=2, entry_count=4, end_time=END)


@pytest.mark.parametrize(
    "answers",
    [
        [[]],
        [[WHOLE[1], WHOLE[3]]],
        [WHOLE[:3]],
        [[WHOLE[0], WHOLE[2]]],
        [[WHOLE[0], WHOLE[1], WHOLE[3]]],
        [[*WHOLE, WHOLE[1]]],
        [[WHOLE[0], ReportEntriesResponse(entries=[entry(3, amount=2)])]],
        [[WHOLE[0], ReportEntriesResponse(entries=[entry(3), entry(3)])]],
        [[*WHOLE[:3], ReportEntriesResponse(closing=ReportClosing(balance=Money(minor_units=105), sequence=6))]],
        [[*WHOLE[:2], gone()], [ReportEntriesResponse(opening=OTHER), *WHOLE[2:]]],
    ],
    ids=[
        "nothing",
        "no opening",
        "no closing",
        "a page missing",
        "the last page missing",
        "more after the closing",
        "a wrong amount",
        "an entry twice",
        "a wrong closing",
        "another report after a break",
    ],
)
def test_what_does_not_add_up_is_refused(answers: list[Answer]) -> None:
    with pytest.raises(Unsound):
        Service(*answers).read()
