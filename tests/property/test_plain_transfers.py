"""What is told to be certainly valid breaks no rule of the contract, as protovalidate reads it."""

import protovalidate
import pytest
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
KEYS = st.one_of(
    st.sampled_from(["a", "A", "", "a\n", "7", "_", "-", "a" * 63, "a" * 64, "é", "a" * 200]),
    st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True),
    st.text(max_size=4),
)
LABELS = st.one_of(
    st.dictionaries(KEYS, TEXTS, max_size=3),
    st.integers(62, 67).map(lambda count: {f"k{number}": "v" for number in range(count)}),
)


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
MANY_LABELS = {f"key-{number}_x": "v" * 128 for number in range(64)}
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


@given(LABELS)
@example({"a\n": "v"})
@example({"a": "\n"})
@example(MANY_LABELS | {"one-more": ""})
def test_labels_that_are_certainly_valid_are_valid(labels: dict[str, str]) -> None:
    labelled = transfer_with(labels)
    if is_certainly_valid(labelled):
        assert protovalidate.collect_violations(labelled) == []


@pytest.mark.parametrize("labels", [{}, {"a": ""}, {"a": "Ä b"}, MANY_LABELS])
def test_a_usual_transfer_is_certainly_valid(labels: dict[str, str]) -> None:
    assert is_certainly_valid(transfer_with(labels))


def transfer_with(labels: dict[str, str]) -> TransferRequest:
    """A usual one."""
    request = TransferRequest(labels=labels)
    request.MergeFrom(USUAL)
    return request
