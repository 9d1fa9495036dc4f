"""What is told to be certainly valid breaks no rule of the contract, as protovalidate reads it."""

import protovalidate
from hypothesis import example, given
from hypothesis import strategies as st
from specie.transaction.v1 import Fee, TransferMode, TransferRequest
from specie.type.v1 import Money

from transaction_service.rpc.plain import is_certainly_valid

NAMES = st.one_of(
    st.sampled_from(
        ["wallets/alice", "wallets/" + "a" * 63, "wallets/" + "a" * 64, "wallets/", "", "wallets/a\n", "b"]
    ),
    st.text(max_size=70).map("wallets/{}".format),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["a" * 128, "a" * 129, "ä" * 128, "\x00", "\x1f", "\x7f", "\x85", "x" * 500, "x" * 501, "\n"]),
)
MONEY = st.builds(
    Money,
    currency_code=st.one_of(st.sampled_from(["USD", "usd", "US", "USDX", "USD\n", "", "ÄÖÜ"]), st.text(max_size=4)),
    minor_units=st.integers(min_value=-(2**63), max_value=2**63 - 1) | st.integers(-1, 2),
)
LABELS = st.dictionaries(st.sampled_from(["a", "A", ""]), st.sampled_from(["", "\n"]), max_size=2)


def transfer(amount: Money | None, version: int | None, fee: Fee | None, **fields: object) -> TransferRequest:
    request = TransferRequest(**fields)  # type: ignore[arg-type]
    if amount is not None:
        request.amount.CopyFrom(amount)
    if version is not None:
        request.expected_version = version
    if fee is not None:
        request.fee.CopyFrom(fee)
    return request


REQUESTS = st.builds(
    transfer,
    amount=st.none() | MONEY,
    version=st.none() | st.integers(-1, 1),
    fee=st.none() | st.just(Fee()),
    source=NAMES,
    destination=NAMES,
    description=TEXTS,
    external_reference=TEXTS,
    labels=LABELS,
    request_id=TEXTS,
    mode=st.sampled_from([*TransferMode.values(), 7]),
)
USUAL = TransferRequest(
    source="wallets/alice",
    destination="wallets/bob",
    amount=Money(currency_code="USD", minor_units=1),
    request_id="one",
    description="for the two\nof us",
    external_reference="invoice 7",
)


@given(REQUESTS)
@example(USUAL)
def test_what_is_certainly_valid_is_valid(request: TransferRequest) -> None:
    if is_certainly_valid(request):
        assert protovalidate.collect_violations(request) == []


def test_a_usual_transfer_is_certainly_valid() -> None:
    assert is_certainly_valid(USUAL)
