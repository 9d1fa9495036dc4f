"""A payment processor: customers pay merchants through it, it keeps 1 %, and what fails half-way never was."""

import pytest

from tests.kit.stack import Stack
from tests.kit.till import Till, error_info, posting, reason, usd

PRICE = 100_00
FEE = 1_00
"""1 %."""


@pytest.fixture
def till(stack: Stack) -> Till:
    return Till(stack)


def people(till: Till) -> tuple[str, str, str]:
    """A customer who can pay once, the processor, a merchant."""
    return till.wallet("customer", PRICE), till.wallet("processor"), till.wallet("merchant")


def test_a_payment_is_split_in_one_transaction_and_a_refund_gives_all_of_it_back(till: Till) -> None:
    customer, processor, merchant = people(till)
    split = {"postings": [posting(customer, -PRICE), posting(merchant, PRICE - FEE), posting(processor, FEE)]}
    paid = till.post("/v1/transactions", split, "order 1")
    assert (paid.status, paid.body["replayed"]) == (200, False)
    assert till.balances(customer, processor, merchant) == [0, FEE, PRICE - FEE]

    second = till.post("/v1/transactions", split, "order 2")
    assert (second.status, reason(second)) == (400, "INSUFFICIENT_FUNDS")
    assert till.balances(customer, processor, merchant) == [0, FEE, PRICE - FEE]

    refund = till.post(f"/v1/{paid.body['transaction']['name']}:reverse", {}, "refund of order 1")
    assert (refund.status, refund.body["transaction"]["reverses"]) == (200, paid.body["transaction"]["name"])
    assert till.balances(customer, processor, merchant) == [PRICE, 0, 0]
    till.closes_with(PRICE)


@pytest.mark.parametrize(
    ("mode", "price", "charged", "received"),
    [("FEE_MODE_INCLUDED", PRICE, PRICE, PRICE - FEE), ("FEE_MODE_ON_TOP", PRICE - FEE, PRICE - 1, PRICE - FEE)],
)
def test_the_fee_of_a_transfer_is_one_percent(till: Till, mode: str, price: int, charged: int, received: int) -> None:
    """Of 99.00 it is 0.99."""
    customer, processor, merchant = people(till)
    fee = {"basisPoints": 100, "destination": processor, "mode": mode}
    transfer = {"source": customer, "destination": merchant, "amount": usd(price), "fee": fee}
    paid = till.post("/v1/transfers", transfer, "order 1")
    assert (paid.status, paid.body["transaction"]["fee"]) == (200, usd(charged - received))
    assert till.balances(customer, processor, merchant) == [PRICE - charged, charged - received, received]
    till.closes_with(PRICE)


def test_a_compound_payment_whose_merchant_is_gone_charges_nobody(till: Till) -> None:
    customer, processor, merchant = people(till)
    till.change(merchant, "close")
    through = {
        "postings": [
            posting(customer, -PRICE),
            posting(processor, PRICE),
            posting(processor, FEE - PRICE),
            posting(merchant, PRICE - FEE),
        ],
        "externalReference": till.own("order 1"),
    }
    for replayed in ("false", "true"):
        answer = till.post("/v1/transactions", through, "order 1")
        assert (answer.status, reason(answer)) == (400, "DESTINATION_CLOSED")
        assert error_info(answer)["metadata"]["replayed"] == replayed
    assert till.balances(customer, processor, merchant) == [PRICE, 0, 0]
    (attempt,) = till.transactions(f"externalReference={till.own('order%201')}")
    assert (attempt["state"], len(attempt["postings"])) == ("TRANSACTION_STATE_FAILED", 4)
    till.closes_with(PRICE)


def test_a_batch_that_stops_at_the_processor_gives_the_customer_everything_back(till: Till) -> None:
    """The customer could pay and the processor could not pay on: both legs or none."""
    customer, processor, merchant = people(till)
    till.change(processor, "freeze")
    legs = [
        {"source": customer, "destination": processor, "amount": usd(PRICE), "requestId": till.own("leg 1")},
        {"source": processor, "destination": merchant, "amount": usd(PRICE - FEE), "requestId": till.own("leg 2")},
    ]
    stopped = till.post("/v1/transfers:batch", {"transfers": legs, "atomic": True})
    assert (stopped.status, reason(stopped)) == (400, "SOURCE_FROZEN")
    assert error_info(stopped)["metadata"]["item"] == "1"
    assert till.balances(customer, processor, merchant) == [PRICE, 0, 0]
    attempts = till.transactions(f"wallet={processor}&state=TRANSACTION_STATE_FAILED")
    assert {attempt["requestId"] for attempt in attempts} == {till.own("leg 1"), till.own("leg 2")}

    till.change(processor, "unfreeze")
    for leg in legs:
        leg["requestId"] = f"{leg['requestId']} again"
    paid = till.post("/v1/transfers:batch", {"transfers": legs, "atomic": True})
    assert (paid.status, len(paid.body["results"])) == (200, 2)
    assert till.balances(customer, processor, merchant) == [0, FEE, PRICE - FEE]
    till.closes_with(PRICE)
