"""A double click on "pay": the browser sends the same payment twice at the same moment, through the gateway."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.kit.stack import Answer, Stack
from tests.kit.till import Till, error_info, posting, reason, usd

ORDERS = 5
PRICE = 30
Pay = Callable[[Till, str, str, str], Answer]
"""From a customer to a shop, under a key."""


@pytest.fixture
def till(stack: Stack) -> Till:
    return Till(stack)


def by_transfer(till: Till, customer: str, shop: str, key: str) -> Answer:
    body = {"source": customer, "destination": shop, "amount": usd(PRICE)}
    return till.post("/v1/transfers", body, key)


def by_postings(till: Till, customer: str, shop: str, key: str) -> Answer:
    return till.post("/v1/transactions", {"postings": [posting(customer, -PRICE), posting(shop, PRICE)]}, key)


def by_batch(till: Till, customer: str, shop: str, key: str) -> Answer:
    item = {"source": customer, "destination": shop, "amount": usd(PRICE), "requestId": till.own(key)}
    return till.post("/v1/transfers:batch", {"transfers": [item]})


def double_click(press: Callable[[], Answer]) -> list[Answer]:
    """Both are on their way before either is sent."""
    ready = Barrier(2)

    def click() -> Answer:
        ready.wait()
        return press()

    with ThreadPoolExecutor(2) as fingers:
        return [clicked.result() for clicked in [fingers.submit(click), fingers.submit(click)]]


def effect(answer: Answer) -> dict[str, Any]:
    """What was answered about the one payment."""
    assert answer.status == 200, answer
    results: list[dict[str, Any]] = answer.body.get("results", [answer.body])
    (result,) = results
    return result


@pytest.mark.parametrize("pay", [by_transfer, by_postings, by_batch])
def test_two_clicks_pay_once_and_both_are_told_of_the_same_payment(till: Till, pay: Pay) -> None:
    customer, shop = till.wallet("customer", 2 * ORDERS * PRICE), till.wallet("shop")
    for order in range(1, ORDERS + 1):
        key = f"order {order}"
        one, other = map(effect, double_click(lambda key=key: pay(till, customer, shop, key)))  # type: ignore[misc]
        assert {one["replayed"], other["replayed"]} == {False, True}
        assert one["transaction"] == other["transaction"]
        assert till.balances(customer, shop) == [(2 * ORDERS - order) * PRICE, order * PRICE]
    assert len(till.transactions(f"wallet={shop}")) == ORDERS
    till.closes_with(2 * ORDERS * PRICE)


def test_two_clicks_without_enough_money_are_one_refusal(till: Till) -> None:
    customer, shop = till.wallet("customer", PRICE - 1), till.wallet("shop")
    refused = double_click(lambda: by_transfer(till, customer, shop, "order"))
    assert [reason(answer) for answer in refused] == ["INSUFFICIENT_FUNDS"] * 2
    told = [error_info(answer)["metadata"] for answer in refused]
    assert {metadata["replayed"] for metadata in told} == {"false", "true"}
    assert len({metadata["transaction"] for metadata in told}) == 1
    assert len(till.transactions(f"wallet={shop}")) == 1
    till.closes_with(PRICE - 1)


def test_two_clicks_on_reserve_reserve_once(till: Till) -> None:
    customer, hotel = till.wallet("customer", 2 * PRICE), till.wallet("hotel")
    body = {"source": customer, "destination": hotel, "amount": usd(PRICE)}
    one, other = map(effect, double_click(lambda: till.post("/v1/holds", body, "booking")))
    assert {one["replayed"], other["replayed"]} == {False, True}
    assert one["hold"] == other["hold"]
    once, again = map(effect, double_click(lambda: till.post(f"/v1/{one['hold']['name']}:capture", {}, "departure")))
    assert {once["replayed"], again["replayed"]} == {False, True}
    assert till.balances(customer, hotel) == [PRICE, PRICE]
    till.closes_with(2 * PRICE)
