"""Room for so many, of which one caller who is bound has a share."""

from transaction_service.places import Places


def test_one_who_is_bound_has_a_tenth_and_the_others_the_rest() -> None:
    places = Places(20)
    assert [places.take("eve") for _ in range(3)] == [True, True, False]
    assert [places.take("bob") for _ in range(3)] == [True, True, False]
    assert [places.take("") for _ in range(17)] == [True] * 16 + [False]
    assert places.taken == 20


def test_a_place_that_is_freed_can_be_taken_again_by_whoever() -> None:
    places = Places(2)
    assert places.take("eve")
    assert places.take("")
    assert not places.take("bob")
    places.free("eve")
    assert places.take("bob")
    assert not places.take("eve")


def test_however_few_there_are_who_is_bound_may_have_one() -> None:
    assert Places(1).take("eve")
    assert not Places(0).take("eve")
