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
