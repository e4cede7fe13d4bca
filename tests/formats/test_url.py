"""A URL that is taken is one that httpx sends a request to."""

import httpx
import pytest

from llmkit.formats.url import split_url


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost", "https://a.example:8443/v1/", "http://[::1]:81/v1", "HTTP://A", "http://a."),
        *("http://bücher.example/", "http://user:word@host/x?y=z", "http://a/b c"),
    ],
)
def test_what_is_taken_is_what_httpx_takes(url: str) -> None:
    parts = split_url(url)
    assert parts is not None
    theirs = httpx.URL(url)
    assert (parts.scheme, parts.port) == (theirs.scheme, theirs.port)
    assert parts.hostname == theirs.host


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "a",
            "localhost:8000",
            "ftp://a",
            "unix:/tmp/a",
            "http:",
            "http://",
            "http:///v1",
            "http://:80",
        ),
        *("http://[::1/v1", "http://a..b", f"http://{'a' * 64}", "http://a:b", "http://a:65536"),
        *("http://a b", "http://a\x01b", "http://a\n"),
    ],
)
def test_what_no_request_can_be_sent_to_is_none(url: str) -> None:
    assert split_url(url) is None
