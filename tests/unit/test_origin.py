"""Which texts are origins of pages: browsers send them in one form only."""

import pytest

from specie_cli.stack.origin import OriginError, origin


@pytest.mark.parametrize(
    "text",
    [
        "https://shop.example",
        "http://localhost:5173",
        "http://127.0.0.1:8080",
        "https://a.b-c.example:65535",
        "http://[::1]:3000",
    ],
)
def test_an_origin_is_taken_as_it_is(text: str) -> None:
    assert origin(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "name each origin"),
        ("https://*.shop.example", "name each origin"),
        ("", "is no origin"),
        ("null", "is no origin"),
        ("shop.example", "is no origin"),
        ("ftp://shop.example", "is no origin"),
        ("https://shop.example/", "is no origin"),
        ("https://shop.example/cart", "is no origin"),
        ("https://Shop.example", "is no origin"),
        ("https://ann@shop.example", "is no origin"),
        ("https://shop.example\n", "is no origin"),
        ("https://shop.example:0", "is no origin"),
        ("https://shop.example:65536", "there is no port 65536"),
        ("https://shop.example:443", "browsers leave :443 out"),
        ("http://shop.example:80", "browsers leave :80 out"),
    ],
)
def test_what_is_no_origin_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(OriginError, match=why):
        origin(text)
