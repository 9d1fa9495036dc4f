"""What a caller reads whose value does not match the contract's pattern."""

from collections.abc import Iterator

import pytest
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from specie.transaction.v1 import (
    GetHoldRequest,
    GetPayoutRequest,
    ListActsRequest,
    ListEntriesRequest,
    ListTransactionsRequest,
    TransferRequest,
)
from specie.type.v1 import Limits, Money
from specie.wallet.v1 import CreateWalletRequest, ListWalletActsRequest, UpdateWalletRequest, Wallet

from service_kit.interceptors import check_rules
from service_kit.status import Refusal
from service_kit.wording import UUID, WORDS, in_words
from tests.kit.rpcs import all_rpcs

WALLET = "must be a wallet's name: wallets/ and 1 to 63 of a-z, 0-9 and -"


def patterns(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """Of its fields, and of the messages in them."""
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        for those in (rules, rules.repeated.items, rules.map.keys, rules.map.values):
            if those.string.pattern:
                yield those.string.pattern
        if field.message_type is not None:
            yield from patterns(field.message_type, seen)


def test_every_pattern_of_the_contract_has_words_and_no_other() -> None:
    seen: set[str] = set()
    found = {pattern for rpc in all_rpcs() for pattern in patterns(rpc.descriptor.input_type, seen)}
    assert len(found) > len(WORDS)
    assert [pattern for pattern in found if "match" in in_words(pattern)] == []
    inner = {pattern.removeprefix("^").removesuffix("$") for pattern in found}
    inner |= {pattern.removeprefix("(").removesuffix(")?") for pattern in inner}
    assert {pattern for pattern in WORDS if pattern not in inner} == set()
    assert any(UUID.search(pattern) for pattern in found)


def test_another_pattern_speaks_for_itself() -> None:
    assert in_words("^a+$") == "must match ^a+$"


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (ListEntriesRequest(wallet="wallets/Alice"), "wallet", WALLET),
        (ListTransactionsRequest(wallet="alice"), "wallet", f"{WALLET}; or leave it out"),
        (GetHoldRequest(name="holds/1"), "name", "must be holds/ and a uuid in lower case"),
        (GetPayoutRequest(name="payouts/" + "A" * 36), "name", "must be payouts/ and a uuid in lower case"),
        (Money(currency_code="eur"), "currency_code", "must be an ISO 4217 code: three capital letters, as EUR"),
        (Limits(time_zone="Berlin!"), "time_zone", "must be an IANA time zone, as Europe/Berlin"),
        (
            TransferRequest(labels={"Key": "v"}),
            'labels["Key"]',
            "the key must be a letter of a-z and up to 62 more of a-z, 0-9, _ and -",
        ),
        (
            TransferRequest(labels={"key": "\n"}),
            'labels["key"]',
            "must have no control characters, such as tabs and line breaks",
        ),
        (TransferRequest(description="\0"), "description", "must have no zero byte"),
        (CreateWalletRequest(wallet_id="Alice"), "wallet_id", "must be up to 63 of a-z, 0-9 and -"),
        (
            UpdateWalletRequest(wallet=Wallet(name="wallets/a", currency_code="euro")),
            "wallet.currency_code",
            "must be an ISO 4217 code: three capital letters, as EUR; or leave it out",
        ),
        (
            ListWalletActsRequest(act="DELETE"),
            "act",
            "must be CREATE, UPDATE, FREEZE, UNFREEZE or CLOSE; or leave it out",
        ),
        (
            ListActsRequest(subject="wallets/a"),
            "subject",
            "must be payouts/ or webhookEndpoints/ and a uuid in lower case; or leave it out",
        ),
    ],
)
def test_the_words(request_: Message, field: str, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_rules(request_)
    assert words in {violation.description for violation in refused.value.violations if violation.field == field}
