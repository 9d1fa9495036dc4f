"""Whatever a URL looks like: it is judged without an error, and one that is taken means one host to everybody."""

from urllib.parse import urlsplit
from urllib.request import Request

from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from transaction_service.webhooks.addresses import host_of, is_allowed, problem_of

PIECES = [
    *"@#?/\\[]%:;&=+-_.~!$'()*, \t\n\0xX0123456789",
    *("localhost", "127.0.0.1", "shop.example", "::1", "::ffff:", "0x7f", "%2e", "%40", "%00", "xn--", "//", ":443"),
    *("169.254.169.254", "1.1.1.1", "\u2024", "\uff0e", "\uff11", "\u00ad", "\u3002"),
]
SCHEMES = ["https://", "HTTPS://", "http://", "https:", "https:/", "https:\\\\", ""]
tricky = st.builds(
    lambda scheme, parts: scheme + "".join(parts), st.sampled_from(SCHEMES), st.lists(st.sampled_from(PIECES))
)


@settings(max_examples=1000, deadline=None)
@given(tricky | st.text() | st.text().map("https://{}".format), st.booleans())
@example("https://[::1]]/", True)
@example("https://shop.example:٣/", False)
def test_a_url_that_is_taken_means_one_host_to_everybody(url: str, private: bool) -> None:
    if problem_of(url, private) is not None:
        return
    ours, theirs = urlsplit(url), URL(url)
    assert host_of(url) == ours.hostname
    assert theirs.host == ours.hostname
    assert theirs.port == (ours.port or {"http": 80, "https": 443}[ours.scheme])
    assert (theirs.scheme, theirs.user, theirs.password) == (ours.scheme, None, None)
    assert Request(url).host == ours.netloc  # noqa: S310 - nothing is opened


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses())
def test_an_address_that_is_allowed_is_allowed_with_private_networks_too(address: object) -> None:
    allowed = is_allowed(str(address), private=False)
    assert not allowed or is_allowed(str(address), private=True)
    assert (problem_of(f"https://{bracketed(str(address))}/", private=False) is None) is allowed


def bracketed(address: str) -> str:
    """As in a URL."""
    return f"[{address}]" if ":" in address else address
