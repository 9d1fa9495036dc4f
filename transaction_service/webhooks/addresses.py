"""Where webhooks may go: not into the network of who sends them (server-side request forgery, docs/adr/0033).

A URL is judged by its text when somebody asks for it, and every address that its host has is judged again at each
connection: names can be given new addresses in between.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

PRIVATE: Final = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # shared address space (RFC 6598), as some clouds use it inside
        "127.0.0.0/8",
        "::1/128",
        "fc00::/7",  # unique local (RFC 4193)
    )
)
"""What the setting for private networks allows."""

NEVER: Final = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo among them: an IPv4 address in disguise
        "2002::/16",  # 6to4, as well
        "3fff::/20",  # documentation (RFC 9637)
        "192.0.0.0/24",  # protocol assignments; metadata at Oracle among them
        "192.88.99.0/24",  # relays of 6to4
        "100.100.100.200/32",  # metadata of machines at Alibaba
        "168.63.129.16/32",  # at Azure
        "fd00:ec2::254/128",  # at AWS, over IPv6
    )
)
"""Nobody's receiver, whatever the settings say: also what `is_global` takes for the Internet, and the places where
machines in a cloud read their own credentials. The usual one of these, 169.254.169.254, is link-local."""

GLOBAL_IPV6: Final = ip_network("2000::/3")
"""All that has been given out (RFC 4291). NAT64 (RFC 6052, RFC 8215), an IPv4 address in disguise, is outside of it."""

NAMES_OF_PRIVATE: Final = frozenset({"localhost", "local", "internal", "arpa"})
"""Last labels of names that only private networks know (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`)."""

_URL: Final = re.compile(
    r"https?://(?:\[(?P<literal>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[1-9][0-9]{0,4}))?(?:[/?].*)?",
    re.ASCII | re.IGNORECASE,
)
"""Stricter than libraries, which take some of what is none by RFC 3986 and do not agree on what."""
_CHARACTERS: Final = re.compile(r"[!-~]*")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
UNLESS: Final = "unless WEBHOOK_PRIVATE_NETWORKS is true"
HOST_LENGTH_MAX: Final = 253
PORT_MAX: Final = 65_535


def is_allowed(address: str, private: bool) -> bool:
    """Whether a connection may go to this address. `private`: also into private networks and to this machine."""
    try:
        return _may(ip_address(address), private=private)
    except ValueError:
        return False


def is_private(address: str) -> bool:
    """Whether it is of a private network or this machine: there, if it is allowed, http will do."""
    try:
        return _is_private(_plain(ip_address(address)))
    except ValueError:
        return False


def problem_of(url: str, private: bool) -> str | None:
    """Why no webhook may go to this URL, as a clause; None: nothing in its text speaks against it. Nothing is looked
    up. Browsers, libraries and resolvers read odd forms differently, so these are refused and not interpreted."""
    if _CHARACTERS.fullmatch(url) is None:
        return "must be of visible ASCII characters; write a host of other letters as xn--..., a path with %"
    if "\\" in url:
        return "must have no backslash"
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in {"https", "http"}:
        return "must begin with https://"
    if "#" in url:
        return "must have no fragment"
    if "@" in re.split("[/?]", rest, maxsplit=1)[0]:
        return "must have no user and no password"
    parts = _URL.fullmatch(url)
    if parts is None or int(parts["port"] or 1) > PORT_MAX:
        return f"must have a host of letters, digits, hyphens and dots, and a port from 1 to {PORT_MAX}, if any"
    return _problem_of_host(host_of(url), private, plain=scheme.lower() == "http", literal=parts["literal"] is not None)


def host_of(url: str) -> str:
    """Of one that `problem_of` has nothing against, in lower case and without brackets."""
    parts = _URL.fullmatch(url)
    return (parts["literal"] or parts["name"]).lower() if parts is not None else ""


def _problem_of_host(host: str, private: bool, *, plain: bool, literal: bool) -> str | None:
    """`literal`: it stands in brackets."""
    labels = host.split(".")
    if literal or _NUMBER.fullmatch(labels[-1]):
        address = _canonical(host, literal=literal)
        if address is None:
            return "must have a name as its host, or an address as usually written: 192.0.2.1, [2001:db8::1]"
        if not _may(address, private=private):
            if _may(address, private=True):
                return f"must not go to {host}, an address of this machine or a private network, {UNLESS}"
            return f"must not go to {host}, an address that is not of the Internet"
        inside = _is_private(_plain(address))
    else:
        if len(host) > HOST_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
            return "must have a name of letters, digits and hyphens as its host, without a dot at its end"
        inside = len(labels) == 1 or labels[-1] in NAMES_OF_PRIVATE
        if inside and not private:
            return f"must not go to {host}, a name that only private networks know, {UNLESS}"
    if plain and not inside:
        return "must begin with https://"
    return None


def _canonical(host: str, *, literal: bool) -> Address | None:
    """None: it is none, or written in a way that some read as another: in octal, or as one number."""
    try:
        return IPv6Address(host) if literal else IPv4Address(host)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as one of IPv6 (::ffff:a.b.c.d) is connected to as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _may(address: Address, *, private: bool) -> bool:
    plain = _plain(address)
    if any(plain in network for network in NEVER):
        return False
    if _is_private(plain):
        return private
    if isinstance(plain, IPv6Address) and plain not in GLOBAL_IPV6:
        return False
    return plain.is_global and not plain.is_multicast


def _is_private(address: Address) -> bool:
    return any(address in network for network in PRIVATE)
