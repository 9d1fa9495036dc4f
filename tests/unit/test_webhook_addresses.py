"""Where webhooks may go: every disguise of an address of one's own network is seen through, or refused unread."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.kit.tables import rows
from transaction_service.webhooks.addresses import is_allowed, is_private, problem_of
from transaction_service.webhooks.destination import Destinations

URLS = """
# url                                       by default   private networks allowed
https://shop.example/hooks                  yes          yes
https://shop.example:8443/a?b=c&d=%C3%A4    yes          yes
HTTPS://SHOP.EXAMPLE                        yes          yes
https://xn--bcher-kva.example               yes          yes
https://my_shop.example                     yes          yes
https://shop.example/?next=a@b              yes          yes
https://1.1.1.1/                            yes          yes
https://[2606:4700:4700::1111]:443/         yes          yes
https://[::ffff:1.1.1.1]/                   yes          yes
https://shop.example:65535/                 yes          yes

# no webhook at all
http://shop.example/                        no           no
ftp://shop.example/                         no           no
//shop.example/                             no           no
shop.example                                no           no
https:shop.example                          no           no
https:/shop.example                         no           no
https://                                    no           no
https:///hooks                              no           no
file:///etc/passwd                          no           no
javascript://shop.example/%0aalert(1)       no           no
https://ann@shop.example/                   no           no
https://ann:secret@shop.example/            no           no
https://@shop.example/                      no           no
https://shop.example#@127.0.0.1/            no           no
https://shop.example/#                      no           no
https://shop.example/\\127.0.0.1/           no           no
https://shop.example\\@127.0.0.1/           no           no
https://shop.example:0/                     no           no
https://shop.example:65536/                 no           no
https://shop.example:-1/                    no           no
https://shop.example:https/                 no           no
https://shop.example:/                      no           no
https://shop..example/                      no           no
https://.shop.example/                      no           no
https://-shop.example/                      no           no
https://shop-.example/                      no           no
https://shop.example./                      no           no
https://shop%2eexample/                     no           no
https://*.example/                          no           no
https://bücher.example/                     no           no
https://①②⑦.⓪.⓪.①/                          no           no
https://127。0。0。1/                       no           no

# this machine and private networks, written as usual
https://127.0.0.1/                          no           yes
http://127.0.0.1:8080/                      no           yes
http://127.255.255.254/                     no           yes
https://[::1]/                              no           yes
http://[::1]:8080/                          no           yes
https://[::ffff:127.0.0.1]/                 no           yes
https://[::ffff:7f00:1]/                    no           yes
http://[::ffff:127.0.0.1]:8080/             no           yes
https://10.0.0.1/                           no           yes
http://10.255.255.255/                      no           yes
https://172.16.0.1/                         no           yes
https://172.31.255.255/                     no           yes
https://192.168.1.1/                        no           yes
https://100.64.0.1/                         no           yes
https://[fd12:3456::1]/                     no           yes
https://[fc00::1]/                          no           yes
https://[::ffff:192.168.1.1]/               no           yes
https://localhost/                          no           yes
http://LocalHost:8080/                      no           yes
http://shop.localhost/                      no           yes
https://printer.local/                      no           yes
https://metadata.google.internal/           no           yes
https://router.home.arpa/                   no           yes
http://receiver:8080/                       no           yes

# the same in odd forms, which some read as these
https://2130706433/                         no           no
https://0x7f000001/                         no           no
https://0x7f.0.0.1/                         no           no
https://017700000001/                       no           no
https://0177.0.0.1/                         no           no
https://127.0.0.0x1/                        no           no
https://127.1/                              no           no
https://0/                                  no           no
https://0x/                                 no           no
https://127.0.0.1./                         no           no
https://127.0.0.01/                         no           no
https://256.0.0.1/                          no           no
https://shop.example.1/                     no           no
https://localhost./                         no           no
https://[::1                                no           no
https://[::1%25lo]/                         no           no
https://[127.0.0.1]/                        no           no
https://[localhost]/                        no           no
https://[v1.fe80]/                          no           no
https://::1/                                no           no

# nobody's receiver, whatever the settings say
https://0.0.0.0/                            no           no
https://0.1.2.3/                            no           no
https://[::]/                               no           no
https://[::127.0.0.1]/                      no           no
https://169.254.169.254/                    no           no
https://169.254.0.1/                        no           no
https://[::ffff:169.254.169.254]/           no           no
https://[fe80::1]/                          no           no
https://[fec0::1]/                          no           no
https://[fd00:ec2::254]/                    no           no
https://100.100.100.200/                    no           no
https://168.63.129.16/                      no           no
https://192.0.0.192/                        no           no
https://192.0.2.1/                          no           no
https://198.18.0.1/                         no           no
https://198.51.100.1/                       no           no
https://203.0.113.1/                        no           no
https://192.88.99.1/                        no           no
https://224.0.0.1/                          no           no
https://239.255.255.250/                    no           no
https://240.0.0.1/                          no           no
https://255.255.255.255/                    no           no
https://[2001:db8::1]/                      no           no
https://[3fff::1]/                          no           no
https://[ff02::1]/                          no           no
https://[ff0e::1]/                          no           no
https://[64:ff9b::7f00:1]/                  no           no
https://[64:ff9b::1.1.1.1]/                 no           no
https://[64:ff9b:1::1]/                     no           no
https://[2002:7f00:1::]/                    no           no
https://[2001::7f00:1]/                     no           no
https://[2001:20::1]/                       no           no
https://[100::1]/                           no           no
https://[5f00::1]/                          no           no
https://[4000::1]/                          no           no
"""
ADDRESSES = """
# address                  by default   private networks allowed
93.184.215.14              yes          yes
2606:4700:4700::1111       yes          yes
::ffff:93.184.215.14       yes          yes
127.0.0.1                  no           yes
192.168.0.1                no           yes
100.127.255.255            no           yes
::1                        no           yes
fdff::1                    no           yes
::ffff:10.0.0.1            no           yes
169.254.169.254            no           no
0.0.0.0                    no           no
::                         no           no
fe80::1                    no           no
fe80::1%eth0               no           no
64:ff9b::a00:1             no           no
127.1                      no           no
localhost                  no           no
"""


@pytest.mark.parametrize(("url", "by_default", "if_allowed"), list(rows(URLS)))
def test_each_url_may_be_sent_to_or_not(url: str, by_default: str, if_allowed: str) -> None:
    answers = [problem_of(url, private) for private in (False, True)]
    assert ["yes" if answer is None else "no" for answer in answers] == [by_default, if_allowed], answers


@pytest.mark.parametrize("hidden", ["\t", "\n", "\r", " ", "\0", "\x7f", "\u200b", "\u2028", "\ufeff"])
@pytest.mark.parametrize("url", ["{}https://shop.example/", "https://shop{}.example/", "https://shop.example/{}"])
def test_what_cannot_be_seen_is_in_no_url(url: str, hidden: str) -> None:
    """Libraries drop some of these and not others."""
    assert problem_of(url.format(hidden), private=True) is not None


def test_digits_of_other_scripts_are_no_digits() -> None:
    """Some libraries read fullwidth ones as 127.0.0.1."""
    fullwidth = "".join(chr(ord(digit) + 0xFEE0) for digit in "127")
    assert problem_of(f"https://{fullwidth}.0.0.1/", private=True) is not None


def test_an_empty_text_is_no_url() -> None:
    assert problem_of("", private=True) == "must begin with https://"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "localhost", "receiver"])
def test_the_setting_that_would_allow_it_is_told(host: str) -> None:
    assert "unless WEBHOOK_PRIVATE_NETWORKS is true" in (problem_of(f"https://{host}/", private=False) or "")


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]"])
def test_no_setting_is_told_that_would_not_help(host: str) -> None:
    assert "WEBHOOK_PRIVATE_NETWORKS" not in (
        problem_of(f"https://{host}/", private=False) or "WEBHOOK_PRIVATE_NETWORKS"
    )


def test_a_host_is_no_longer_than_names_are() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert problem_of(f"https://{longest}/", private=False) is None
    assert problem_of(f"https://{longest}b/", private=False) is not None
    assert problem_of(f"https://{'a' * 64}.example/", private=False) is not None


@pytest.mark.parametrize(("address", "by_default", "if_allowed"), list(rows(ADDRESSES)))
def test_each_address_may_be_connected_to_or_not(address: str, by_default: str, if_allowed: str) -> None:
    answers = [is_allowed(address, private) for private in (False, True)]
    assert ["yes" if answer else "no" for answer in answers] == [by_default, if_allowed]


@pytest.mark.parametrize(
    ("address", "private"),
    [("10.0.0.1", True), ("::ffff:10.0.0.1", True), ("::1", True), ("1.1.1.1", False), ("localhost", False)],
)
def test_a_private_address_is_one_by_its_numbers(address: str, private: bool) -> None:
    assert is_private(address) is private


class Known:
    """A resolver that knows one name. None: it does not answer."""

    def __init__(self, addresses: Sequence[str] | None) -> None:
        self._addresses = addresses
        self.asked: list[str] = []

    async def addresses(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if self._addresses is None:
            raise TimeoutError
        return self._addresses


@pytest.mark.parametrize(
    ("addresses", "problem"),
    [
        (["93.184.215.14", "2606:4700:4700::1111"], None),
        (["127.0.0.1"], "must not go to shop.example, which has an address that is not of the Internet"),
        (
            ["93.184.215.14", "10.0.0.1"],
            "must not go to shop.example, which has an address that is not of the Internet",
        ),
        (["169.254.169.254"], "must not go to shop.example, which has an address that is not of the Internet"),
        ([], "must have a host that can be found: there is no address for shop.example"),
        (None, "must have a host that can be found: no answer about shop.example came in time"),
    ],
)
def test_every_address_of_a_name_is_judged(addresses: Sequence[str] | None, problem: str | None) -> None:
    destinations = Destinations(Known(addresses), private=False)
    assert asyncio.run(destinations.problem_of("https://Shop.example:8443/hooks")) == problem


def test_a_url_that_is_refused_unread_is_not_looked_up() -> None:
    resolver = Known(["93.184.215.14"])
    assert asyncio.run(Destinations(resolver, private=False).problem_of("https://localhost/")) is not None
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("url", "addresses", "may"),
    [
        ("http://receiver:8080/", ["10.1.2.3"], True),
        ("https://receiver:8080/", ["10.1.2.3"], True),
        ("http://receiver:8080/", ["93.184.215.14"], False),
        ("http://receiver:8080/", ["10.1.2.3", "93.184.215.14"], False),
        ("https://shop.example/", ["10.1.2.3"], True),
        ("https://shop.example/", ["169.254.169.254"], False),
    ],
)
def test_allowed_private_networks_take_http_and_nobody_else(url: str, addresses: Sequence[str], may: bool) -> None:
    problem = asyncio.run(Destinations(Known(addresses), private=True).problem_of(url))
    assert (problem is None) is may
