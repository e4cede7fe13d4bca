"""What a server opens before it has a model is closed again, and said where it is."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from llmkit.errors import ResourceError, UsageError
from llmkit.server.config import ServeConfig
from llmkit.server.handoff import WorkerGate
from llmkit.server.keyed_gate import KeyedGate
from llmkit.workflows.serve.front import address_of, end_as, open_front


def test_a_port_is_open_inside_and_told_to_who_waits_for_it() -> None:
    read, write = os.pipe()
    notes: list[str] = []
    with open_front(ServeConfig(port=0, ready_fd=write)) as front:
        port = front.listener.getsockname()[1]
        front.announce("m", notes.append, admin_url="unix:a")
        told = json.loads(os.read(read, 1000))
        with pytest.raises(ResourceError), open_front(ServeConfig(port=port)):
            pass
    os.close(read)
    assert told == {
        **{"url": f"http://127.0.0.1:{port}", "port": port, "model": "m"},
        **{"pid": os.getpid(), "admin_url": "unix:a"},
    }
    assert notes == [f"m is served on http://127.0.0.1:{port}"]
    with open_front(ServeConfig(port=port)):
        pass


@pytest.mark.parametrize("gone", [-1, 987_654, 10**20])
def test_who_waits_where_nothing_is_open_is_named_first(gone: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        pytest.raises(UsageError, match=f"--ready-fd {gone}: is not open"),
        open_front(ServeConfig(port=0, ready_fd=gone, log=log)),
    ):
        pass
    assert not log.exists()


def test_a_socket_is_its_owners_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with open_front(ServeConfig(unix_socket=path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
    assert not path.exists()


def test_only_a_worker_of_a_router_has_no_keys(tmp_path: Path) -> None:
    for behind, kind in ((True, WorkerGate), (False, KeyedGate)):
        with open_front(ServeConfig(unix_socket=tmp_path / "s", behind_router=behind)) as front:
            assert type(front.gate) is kind


@pytest.mark.parametrize(
    ("config", "address"),
    [
        (ServeConfig(host="::1"), "http://[::1]:5"),
        (ServeConfig(tls_certificate=Path("c"), tls_key=Path("k")), "https://127.0.0.1:5"),
        (ServeConfig(unix_socket=Path("/s")), "unix:/s"),
    ],
)
def test_where_it_is_can_be_copied_into_a_client(config: ServeConfig, address: str) -> None:
    assert address_of(config, 5) == address


def test_how_it_ended_is_the_exit_status() -> None:
    end_as("drained")
    with pytest.raises(KeyboardInterrupt):
        end_as("interrupted")
    with pytest.raises(SystemExit) as caught:
        end_as("killed")
    assert caught.value.code == 143
