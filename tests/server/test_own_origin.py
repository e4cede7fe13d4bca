"""Pages of others have nothing done here, whatever address they came by; programs and our own page do."""

import socket

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.own_origin import OwnOrigin, as_browsers_write

LOOPBACK = OwnOrigin(host="127.0.0.1")
NETWORK = OwnOrigin(host="0.0.0.0")
SOCKET = OwnOrigin()
NAMED = OwnOrigin(["https://chat.example", "app://x"], "127.0.0.1")
ALL = OwnOrigin(["*"], "127.0.0.1")


def refused(server: OwnOrigin, method: str = "POST", **headers: str) -> str | None:
    """The code of the error; None: it is let in."""
    try:
        server.check(method, {name.replace("_", "-"): value for name, value in headers.items()})
    except ApiError as error:
        assert error.status == 403
        return error.code
    return None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost:8000",
            "LocalHost:8000",
            "localhost.:8000",
            "a.localhost:1",
            "127.0.0.1:8000",
        ),
        *("127.3.2.1", "[::1]", "[::1]:8000", "", "host.docker.internal:8000", socket.gethostname()),
    ],
)
def test_a_loopback_listener_knows_every_name_that_a_machine_has_for_itself(host: str) -> None:
    assert refused(LOOPBACK, host=host) is refused(LOOPBACK, "GET", host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
        ),
        *("localhost@evil.example", "evil.example@localhost", "localhost:80:80", "[::2]", "[fe80::1]:8000"),
        *(
            "notlocalhost",
            "xlocalhost:8000",
            "localhost/",
            "127.1",
            "::1",
            "[127.0.0.1",
            " ",
            "localhost:http",
        ),
    ],
)
def test_a_name_that_was_turned_to_this_machine_is_refused_on_loopback_alone(host: str) -> None:
    for method in ("POST", "GET"):
        assert refused(LOOPBACK, method, host=host) == "host_not_allowed"
        assert refused(NETWORK, method, host=host) is refused(SOCKET, method, host=host) is None


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("localhost", True), ("::1", True), ("127.5.5.5", True), ("::", False), ("no.such.invalid", False)],
)
def test_whether_others_reach_it_follows_from_where_it_listens(host: str, is_loopback: bool) -> None:
    assert (refused(OwnOrigin(host=host), host="evil.example") is not None) == is_loopback


def test_what_it_was_told_to_listen_on_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(0, 0, 0, "", ("127.0.1.1", 0))])
    server = OwnOrigin(host="Desk")
    assert refused(server, host="desk:8000") is None
    assert refused(server, host="desk.evil.example:8000") == "host_not_allowed"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://localhost", "localhost"),
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost:443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://LOCALHOST:8000", "localhost:8000"),
    ],
)
def test_its_own_page_may_ask(origin: str, host: str) -> None:
    for server in (LOOPBACK, NETWORK, SOCKET):
        assert refused(server, origin=origin, host=host) is None


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.example",
            "https://localhost.evil.example:8000",
            "null",
            "",
            "file://",
            "localhost:8000",
        ),
        *("http://localhost:3000", "http://localhost", "http://localhost:8000@evil.example", "http://"),
        *("chrome-extension://abc", "http://localhost:8000/", "http://evil.example#localhost:8000"),
    ],
)
def test_another_page_has_nothing_done_and_may_look(origin: str) -> None:
    for server in (LOOPBACK, NETWORK, SOCKET, NAMED):
        assert refused(server, origin=origin, host="localhost:8000") == "origin_not_allowed"
        assert refused(server, origin=origin, host="localhost:8000", sec_fetch_site="same-site") is not None
        assert refused(server, "GET", origin=origin, host="localhost:8000") is None


def test_an_origin_without_a_host_to_be_compared_with_is_no_own_one() -> None:
    assert refused(NETWORK, origin="http://") == refused(NETWORK, origin="http://a") == "origin_not_allowed"


def test_a_page_behind_a_proxy_that_names_another_host_is_known_by_the_browsers_word() -> None:
    page = {"origin": "https://chat.example", "host": "127.0.0.1:8000"}
    assert refused(LOOPBACK, **page) == "origin_not_allowed"
    assert refused(LOOPBACK, **page, sec_fetch_site="cross-site") == "origin_not_allowed"
    assert refused(LOOPBACK, **page, sec_fetch_site="same-origin") is None
    rebound = page | {"host": "chat.example"}
    assert refused(LOOPBACK, **rebound, sec_fetch_site="same-origin") == "host_not_allowed"


def test_a_page_behind_a_proxy_over_plain_http_is_known_by_the_host_that_the_proxy_was_asked_for() -> None:
    page = {"origin": "http://desk.example:8080", "host": "127.0.0.1:8000"}  # such browsers say no more
    for server in (LOOPBACK, NETWORK, SOCKET):
        assert refused(server, **page) == "origin_not_allowed"
        assert refused(server, **page, x_forwarded_host="Desk.example:8080") is None
        assert refused(server, **page, x_forwarded_host="desk.example:8080, inner") is None  # two in a row
        for other in ("inner, desk.example:8080", "desk.example", "desk.example:8081", ""):
            assert refused(server, **page, x_forwarded_host=other) == "origin_not_allowed"


def test_what_a_proxy_tells_makes_no_name_of_this_machine() -> None:
    rebound = {"origin": "http://evil.example", "host": "evil.example"}
    assert refused(LOOPBACK, **rebound, x_forwarded_host="127.0.0.1:8000") == "host_not_allowed"
    assert refused(LOOPBACK, "GET", **rebound, x_forwarded_host="localhost") == "host_not_allowed"


def test_cors_lets_a_page_ask_and_a_proxy_pass_its_name_on() -> None:
    assert refused(NAMED, origin="https://chat.example", host="localhost:8000") is None
    assert refused(NAMED, origin="https://chat.example", host="chat.example") is None
    assert refused(NAMED, origin="app://x", host="localhost") is None
    assert refused(NAMED, origin="http://chat.example:81", host="localhost") == "origin_not_allowed"
    assert refused(NAMED, host="other.example") == "host_not_allowed"
    assert refused(ALL, origin="http://evil.example", host="evil.example") is None


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("https://chat.example", "https://chat.example"),
        ("https://Chat.Example/", "https://chat.example"),
        ("https://chat.example:443", "https://chat.example"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("http://[::1]:80", "http://[::1]"),
        *((one, one) for one in ("app://x", "chrome-extension://abc", "http://localhost:3000", "*", "null")),
        *((one, None) for one in ("chat.example", "foo", "", "https://", "https://*.example", "https://a/b")),
        *((one, None) for one in ("http://a@b", "http://a:b", "file:///", "https://a,https://b")),
    ],
)
def test_an_origin_that_no_browser_would_send_is_told_as_one_would(told: str, written: str | None) -> None:
    assert as_browsers_write(told) == written


def test_what_is_refused_is_told_shortened_with_the_flag_that_lets_it_in() -> None:
    with pytest.raises(ApiError, match=r"http://evil.example may not ask here \(--cors http://evil.example "):
        LOOPBACK.check("POST", {"origin": "http://evil.example", "host": "localhost"})
    with pytest.raises(
        ApiError, match=r"evil.example is no name of 127.0.0.1, .*--cors http://evil.example "
    ):
        LOOPBACK.check("GET", {"host": "evil.example:8000"})
    with pytest.raises(ApiError) as caught:
        LOOPBACK.check("GET", {"host": "a" * 50_000})
    assert len(caught.value.message) < 400
