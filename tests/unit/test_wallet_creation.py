"""CreateWallet's rules: names, fingerprints, currencies, time zones."""

from uuid import UUID

import pytest

from wallet_service.domain import creation
from wallet_service.domain.failure import Failure, Reason
from wallet_service.domain.wallet import Limits, Particulars, WalletKind

ASKED = ("wallets/a", "ann", "USD", WalletKind.USER, Particulars("A", {"x": "1", "y": "2"}, Limits(1, 2, 3, "UTC", 4)))


def test_a_derived_name_is_a_uuid_and_the_same_every_time() -> None:
    name = creation.derived_name("local", "r-1")
    assert name == creation.derived_name("local", "r-1") == "wallets/" + str(UUID(name.removeprefix("wallets/")))


def test_derived_names_do_not_run_into_each_other() -> None:
    names = {creation.derived_name(*parts) for parts in [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")]}
    assert len(names) == 4


def test_the_order_of_labels_does_not_make_another_request() -> None:
    turned = (*ASKED[:4], Particulars("A", {"y": "2", "x": "1"}, ASKED[4].limits))
    assert creation.fingerprint(*turned) == creation.fingerprint(*ASKED)


@pytest.mark.parametrize(
    "other",
    [
        ("wallets/b", *ASKED[1:]),
        (ASKED[0], "bob", *ASKED[2:]),
        (*ASKED[:2], "EUR", *ASKED[3:]),
        (*ASKED[:3], WalletKind.PROVIDER, ASKED[4]),
        (*ASKED[:4], Particulars("B", ASKED[4].labels, ASKED[4].limits)),
        (*ASKED[:4], Particulars("A", {"x": "1"}, ASKED[4].limits)),
        (*ASKED[:4], Particulars("A", ASKED[4].labels, Limits(1, 2, 3, "UTC", 5))),
    ],
)
def test_every_field_makes_another_request(other: tuple[str, str, str, WalletKind, Particulars]) -> None:
    assert creation.fingerprint(*other) != creation.fingerprint(*ASKED)


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "BHD", "CLF"])
def test_currencies_of_the_standard_are_known(code: str) -> None:
    assert creation.check_currency(code) is None


@pytest.mark.parametrize("code", ["ABC", "usd", "", "XXX", "XTS", "XAU"])
def test_what_money_is_not_counted_in_is_no_currency(code: str) -> None:
    assert creation.check_currency(code) == Failure(Reason.UNKNOWN_CURRENCY, {"currency": code})


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin", "Etc/GMT+5"])
def test_time_zones_of_the_database_are_known(zone: str) -> None:
    assert creation.check_limits(Limits(time_zone=zone)) is None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "europe/berlin", "posixrules", "/etc/localtime", "Europe"])
def test_other_time_zones_are_not(zone: str) -> None:
    assert creation.check_limits(Limits(time_zone=zone)) == Failure(Reason.UNKNOWN_TIME_ZONE, {"time_zone": zone})
