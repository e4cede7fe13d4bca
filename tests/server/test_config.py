"""Settings that contradict each other are refused before anything is opened."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.server.config import ServeConfig


def test_a_unix_socket_takes_the_place_of_the_host() -> None:
    assert (ServeConfig().listens_on, ServeConfig(unix_socket=Path("s")).listens_on) == ("127.0.0.1", None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tls_key": Path("k")}, "a certificate and its key"),
        ({"tls_key": Path("k"), "tls_certificate": Path("c"), "unix_socket": Path("s")}, "Unix socket"),
        ({"port": 9000, "unix_socket": Path("s")}, "a port beside a Unix socket"),
        ({"log_prompts": True}, "without --log"),
        ({"queue_requests": 0}, "--queue-requests must be at least 1"),
        ({"long_places": 0}, "--long-places must be at least 1"),
        ({"port": 70_000}, "--port must be from 0 to 65535"),
        ({"drain_seconds": 0.0}, "--drain-seconds must be above 0"),
        ({"drain_seconds": float("inf")}, "--drain-seconds must be above 0, and end"),
        ({"cors": ("https://chat.example", "foo")}, "--cors foo: no page's origin"),
        ({"response_bytes": 1 << 20}, "--response-bytes must be 8 MiB or more, or 0"),
        ({"response_seconds": 0.0}, "--response-seconds must be above 0"),
        ({"prompt_seconds": float("nan")}, "--prompt-seconds must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ServeConfig(**given)
