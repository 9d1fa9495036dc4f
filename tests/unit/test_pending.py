"""How many more ASYNC transfers are let in."""

from tests.kit.wallets import asynchronous
from transaction_service.posting.pending import Pending


@asynchronous
async def test_so_many_are_admitted_as_there_is_room_for() -> None:
    pending = Pending(5)
    assert [pending.admits(count) for count in (3, 3, 2, 1)] == [True, False, True, False]


@asynchronous
async def test_a_limit_of_0_admits_none() -> None:
    assert not Pending(0).admits(1)


@asynchronous
async def test_what_was_there_when_it_was_counted_takes_room() -> None:
    pending = Pending(5)
    pending.counted(4)
    assert [pending.admits(2), pending.admits(1), pending.admits(1)] == [False, True, False]


@asynchronous
async def test_what_one_count_may_have_missed_is_in_the_next_one() -> None:
    pending = Pending(5)
    assert pending.admits(5)
    pending.counted(0)  # it had begun before they were stored
    assert not pending.admits(1)
    pending.counted(5)
    assert not pending.admits(1)
    pending.counted(3)
    assert [pending.admits(2), pending.admits(1)] == [True, False]


@asynchronous
async def test_there_is_room_again_when_what_was_admitted_is_posted() -> None:
    pending = Pending(5)
    assert pending.admits(5)
    pending.counted(0)
    pending.counted(0)
    assert pending.admits(5)


def test_who_is_bound_leaves_half_of_the_room_to_the_house() -> None:
    pending = Pending(5)
    assert [pending.admits(1, "eve") for _ in range(3)] == [True, True, False]
    assert not pending.admits(1, "bob")
    assert pending.admits(3)
    assert (pending.limit_for("eve"), pending.limit_for("")) == (2, 5)
