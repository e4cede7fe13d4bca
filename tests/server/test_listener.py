"""Sockets: any free port, a port in use said at once, a Unix socket for its owner alone."""

import socket
import stat
from pathlib import Path

import pytest

from llmkit.errors import ResourceError, UsageError
from llmkit.server.listener import open_port, open_unix_socket


def test_port_0_is_a_free_one_and_the_same_again_is_in_use() -> None:
    with open_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        with pytest.raises(ResourceError, match=f"127.0.0.1:{port}: address already in use"):
            open_port("127.0.0.1", port)


def test_a_port_that_somebody_takes_between_our_two_steps_is_in_use_and_nothing_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours: list[socket.socket] = []
    listen = socket.socket.listen

    def beaten(one: socket.socket, backlog: int) -> None:
        ours.append(one)
        listen(rival)
        listen(one, backlog)

    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", 0))
        port = rival.getsockname()[1]
        monkeypatch.setattr(socket.socket, "listen", beaten)
        with pytest.raises(ResourceError, match=f"127.0.0.1:{port}: address already in use"):
            open_port("127.0.0.1", port)
    assert ours[0].fileno() == -1


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(UsageError, match="no such address"):
        open_port("not.an.address.invalid", 0)


def test_a_unix_socket_is_its_owners_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with open_unix_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ResourceError, match="another server listens"):
            open_unix_socket(path)
    with open_unix_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_file_in_the_place_of_a_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is no socket"):
        open_unix_socket(path)
    assert path.read_text() == "mine"
