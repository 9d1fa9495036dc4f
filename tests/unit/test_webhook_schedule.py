"""What may be sent when: whatever fails, each wallet's events are taken in the order of their commits, and nothing is
lost or held back by what it has nothing to do with."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from transaction_service.ports import Mark
from transaction_service.webhooks.schedule import JITTER, Parcel, Schedule, pause_seconds

ALL = 1_000


def parcel(commit: int, *wallets: str, attempts: int = 0, due: float = 0.0) -> Parcel:
    id_ = str(UUID(int=2**64 - commit))  # ids are in no order of commits
    return Parcel(
        id_, f"evt_{commit}", "transaction.posted", f"transactions/{id_}", wallets, Mark(commit, id_), attempts, due=due
    )


def schedule_of(*parcels: Parcel) -> Schedule:
    schedule = Schedule()
    for one in parcels:
        schedule.add(one)
    return schedule


def commits(parcels: list[Parcel]) -> list[int]:
    return [one.mark.commit for one in parcels]


def test_each_wallet_has_one_on_its_way() -> None:
    schedule = schedule_of(parcel(1, "a", "b"), parcel(2, "b", "c"), parcel(3, "c"), parcel(4, "d"), parcel(5))
    assert commits(schedule.take(0, ALL)) == [1, 4, 5]
    assert schedule.take(0, ALL) == []
    schedule.delivered(parcel(1).id)
    assert commits(schedule.take(0, ALL)) == [2]
    schedule.delivered(parcel(2).id)
    assert commits(schedule.take(0, ALL)) == [3]


def test_no_more_is_given_than_is_asked_for_and_the_earliest_commits_first() -> None:
    schedule = schedule_of(*[parcel(commit) for commit in (3, 1, 2)])
    assert commits(schedule.take(0, 2)) == [1, 2]
    assert commits(schedule.take(0, 2)) == [3]


def test_what_failed_waits_and_holds_back_only_its_own_wallets() -> None:
    schedule = schedule_of(parcel(1, "a"), parcel(2, "a"), parcel(3, "b"))
    first, third = schedule.take(0, ALL)
    schedule.put_back(first._replace(attempts=1, due=10))
    schedule.delivered(third.id)
    assert schedule.next_due() == 10
    assert schedule.take(9.9, ALL) == []
    assert commits(schedule.take(10, ALL)) == [1]
    schedule.delivered(first.id)
    assert commits(schedule.take(10, ALL)) == [2]


def test_an_earlier_one_that_comes_late_goes_before_what_waits() -> None:
    """As when somebody wants one to be sent once more."""
    schedule = schedule_of(parcel(2, "a"), parcel(3, "a"))
    schedule.add(parcel(1, "a"))
    assert commits(schedule.take(0, ALL)) == [1]
    schedule.delivered(parcel(1).id)
    assert commits(schedule.take(0, ALL)) == [2]


def test_an_earlier_one_that_comes_late_waits_for_nothing_that_is_away() -> None:
    schedule = schedule_of(parcel(2, "a"), parcel(3, "a"))
    schedule.take(0, ALL)
    schedule.add(parcel(1, "a"))
    assert commits(schedule.take(0, ALL)) == [1]
    schedule.delivered(parcel(2).id)
    assert schedule.take(0, ALL) == [], "3 waits for 1"
    schedule.delivered(parcel(1).id)
    assert commits(schedule.take(0, ALL)) == [3]


def test_tried_is_what_was_sent_in_vain_and_is_not_away() -> None:
    schedule = schedule_of(parcel(1, "a"), parcel(2, "b"), parcel(3, "c", attempts=2))
    for taken in schedule.take(0, 2):
        schedule.put_back(taken._replace(attempts=1, due=5))
    assert schedule.tried() == {parcel(1).id, parcel(2).id, parcel(3).id}
    assert commits(schedule.take(0, ALL)) == [3]
    assert schedule.tried() == {parcel(1).id, parcel(2).id}


def test_what_is_wanted_once_more_is_due_now() -> None:
    schedule = schedule_of(parcel(1, "a", attempts=3, due=1_000))
    schedule.renew(parcel(1, "a"))
    assert commits(schedule.take(0, ALL)) == [1]
    schedule.put_back(parcel(1, "a", attempts=1, due=2_000))
    assert schedule.next_due() == 2_000, "when it was due before does not count any more"


def test_but_not_twice_at_once() -> None:
    schedule = schedule_of(parcel(1, "a", attempts=3))
    schedule.take(0, ALL)
    schedule.renew(parcel(1, "a"))
    assert schedule.take(0, ALL) == []
    schedule.add(parcel(0, "a"))
    assert commits(schedule.take(0, ALL)) == [0]
    schedule.delivered(parcel(0).id)
    assert schedule.take(0, ALL) == []


def test_nothing_is_due_where_nothing_waits() -> None:
    schedule = schedule_of(parcel(1, "a"))
    assert len(schedule) == 1
    schedule.take(0, ALL)
    assert schedule.next_due() is None
    schedule.delivered(parcel(1).id)
    assert len(schedule) == 0
    assert parcel(1).id not in schedule


def test_what_was_delivered_can_be_wanted_once_more() -> None:
    schedule = schedule_of(parcel(1, "a"))
    schedule.take(0, ALL)
    schedule.delivered(parcel(1).id)
    schedule.add(parcel(1, "a"))
    assert commits(schedule.take(0, ALL)) == [1]


@pytest.mark.parametrize(("attempts", "pause"), [(1, 5), (2, 15), (3, 45), (8, 10_935), (9, 21_600), (1_000, 21_600)])
def test_each_pause_is_three_times_the_one_before_up_to_the_longest(attempts: int, pause: float) -> None:
    assert pause_seconds(attempts, 5, 21_600, chance=0.5) == pytest.approx(pause)


@given(st.integers(1, 10_000), st.floats(0.01, 3_600), st.floats(0.01, 86_400), st.floats(0, 1), st.floats(0, 1e9))
def test_no_pause_is_longer_than_the_longest_or_much_shorter_than_asked(
    attempts: int, first: float, longest: float, chance: float, asked: float
) -> None:
    pause = pause_seconds(attempts, first, longest, chance, asked)
    assert min(first, longest) * (1 - JITTER) * 0.999 <= pause <= longest
    assert pause >= min(asked, longest)


def test_a_receiver_that_asks_for_time_is_given_it() -> None:
    assert pause_seconds(1, 5, 21_600, chance=0.5, asked=120) == 120
    assert pause_seconds(1, 5, 60, chance=0.5, asked=120) == 60


@dataclass
class Model:
    """What the receiver has seen, and what it should see: told of one event after another."""

    named: dict[int, set[str]] = field(default_factory=dict)
    firsts: list[int] = field(default_factory=list)

    def assert_in_order(self) -> None:
        for wallet in {wallet for wallets in self.named.values() for wallet in wallets}:
            of_wallet = [commit for commit in self.firsts if wallet in self.named[commit]]
            earlier = [commit for commit in sorted(self.named) if wallet in self.named[commit]]
            assert of_wallet == earlier[: len(of_wallet)]


class AnyCourse(RuleBasedStateMachine):
    """Events come, are sent, fail or are taken, are wanted once more; the courier dies and another one begins."""

    away = Bundle("away")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.schedule = Schedule()
        self.waiting: dict[int, Parcel] = {}
        self.now = 0.0
        self.life = 0

    @rule(wallets=st.lists(st.sets(st.sampled_from("abcdef"), max_size=3), min_size=1, max_size=8))
    def commit(self, wallets: list[set[str]]) -> None:
        for names in wallets:
            number = len(self.model.named) + 1
            self.model.named[number] = names
            self.waiting[number] = parcel(number, *sorted(names), due=self.now)
            self.schedule.add(self.waiting[number])

    @rule(target=away, limit=st.integers(1, 5))
    def send(self, limit: int):  # type: ignore[no-untyped-def] # noqa: ANN201 - a bundle's own type
        return multiple(*[(self.life, one) for one in self.schedule.take(self.now, limit)])

    @rule(sent=consumes(away))
    def take(self, sent: tuple[int, Parcel]) -> None:
        """The receiver does; whether the courier lives to hear of it or not."""
        life, one = sent
        commit = one.mark.commit
        if commit not in self.model.firsts:
            self.model.firsts.append(commit)
        if life == self.life:
            self.waiting.pop(commit)
            self.schedule.delivered(one.id)

    @rule(sent=consumes(away), pause=st.floats(0, 100))
    def fail(self, sent: tuple[int, Parcel], pause: float) -> None:
        life, one = sent
        if life == self.life:
            again = one._replace(attempts=one.attempts + 1, due=self.now + pause)
            self.waiting[one.mark.commit] = again
            self.schedule.put_back(again)

    @rule(seconds=st.floats(0, 200))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def want_once_more(self, data: st.DataObject) -> None:
        taken = sorted(set(self.model.firsts) - set(self.waiting))
        if taken:
            commit = data.draw(st.sampled_from(taken))
            self.waiting[commit] = parcel(commit, *sorted(self.model.named[commit]), due=self.now)
            self.schedule.add(self.waiting[commit])

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """Some of what was taken is not on record yet: it waits again for who comes next, with all that came behind."""
        unmarked = data.draw(st.integers(0, 3))
        for commit in self.model.firsts[len(self.model.firsts) - unmarked :]:
            self.waiting.setdefault(commit, parcel(commit, *sorted(self.model.named[commit]), due=self.now))
        self.life += 1
        self.schedule = schedule_of(*[self.waiting[commit] for commit in sorted(self.waiting)])

    @invariant()
    def each_wallets_first_ones_are_in_order(self) -> None:
        self.model.assert_in_order()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.model.named) - set(self.model.firsts) <= set(self.waiting)
        assert {one.mark.commit for one in self.schedule} == set(self.waiting)

    def teardown(self) -> None:
        """From here on the receiver takes everything: then it has everything, one round for each at the most."""
        self.die_at_last()
        for _ in range(len(self.waiting)):
            sent = self.schedule.take(float("inf"), ALL)
            ready = [c for c in self.waiting if not self._waits_behind(c)]
            assert sorted(commits(sent)) == sorted(ready), "nobody waits without a reason"
            for one in sent:
                self.take((self.life, one))
            self.model.assert_in_order()
        assert not self.waiting
        assert set(self.model.firsts) == set(self.model.named)

    def die_at_last(self) -> None:
        self.life += 1
        self.schedule = schedule_of(*self.waiting.values())

    def _waits_behind(self, commit: int) -> bool:
        return any(other < commit and self.model.named[other] & self.model.named[commit] for other in self.waiting)


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
