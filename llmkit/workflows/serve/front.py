"""What a server opens before it has a model: its listener, its log, its keys and its queue. No torch."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.formats.atomic import refuse_unwritable
from llmkit.formats.streams import STDIO
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig, ServeConfig
from llmkit.server.handoff import WorkerGate
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import read_keys
from llmkit.server.listener import open_port, open_unix_socket
from llmkit.server.observe import RequestLog
from llmkit.server.run import Ending
from llmkit.server.tls import check_tls
from llmkit.server.usage import UsageStore
from llmkit.workflows.serve.request_log import request_log


@dataclass(frozen=True)
class Front:
    """All of it, open."""

    config: ServeConfig
    listener: socket.socket
    gate: KeyedGate | WorkerGate
    tell: RequestLog

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """Certificate and key."""
        if self.config.tls_certificate is None or self.config.tls_key is None:
            return None
        return self.config.tls_certificate, self.config.tls_key

    def announce(self, model: str, note: Callable[[str], None], **more: Any) -> None:
        """Say that requests are taken in, and where.

        Args:
            model: that is served.
            note: told in words.
            more: for who reads the line of JSON.
        """
        port = self.listener.getsockname()[1] if self.config.unix_socket is None else 0
        address = address_of(self.config, port)
        note(f"{model} is served on {address}")
        if self.config.ready_fd is not None:
            told = {"url": address, "port": port or None, "model": model, "pid": os.getpid(), **more}
            with os.fdopen(self.config.ready_fd, "w") as stream:
                stream.write(json.dumps(told) + "\n")


def check_places(config: ServeConfig, admin_socket: Path | None = None) -> None:
    """Check the files of TLS, and that what is written can be.

    Raises:
        UsageError, MissingError: a log, the counts or a socket that may not be written, or has no folder; a
            file descriptor that is not open.
        LlmkitError: see `check_tls`.
    """
    check_tls(config.tls_certificate, config.tls_key)
    if config.ready_fd is not None:
        try:
            os.fstat(config.ready_fd)
        except (OSError, OverflowError):
            told = f"--ready-fd {config.ready_fd}"
            raise UsageError(f"{told}: is not open", hint="--ready-fd 3 3>ready.json") from None
    for path in (config.log, config.usage, config.unix_socket, admin_socket):
        if path is not None and path != STDIO:
            refuse_unwritable(path, in_place=True)


@contextlib.contextmanager
def open_front(config: ServeConfig, *, engines: int = 1) -> Iterator[Front]:
    """Open it; closed again at the end.

    Args:
        config: how to listen, and whom to serve.
        engines: whose places there are; long requests have a share of each.

    Raises:
        ResourceError: the port is in use.
        UsageError, ConfigError, DataError, MissingError: a file of keys, of TLS, or a socket that cannot be.
    """
    check_places(config)
    keys = None if config.keys is None else read_keys(config.keys)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listening(config.host, config.port, config.unix_socket))
        usage = UsageStore(config.usage)
        stack.callback(usage.close)
        tell = stack.enter_context(request_log(config.log))
        queue = AdmissionConfig(
            max_requests=config.queue_requests,
            max_tokens=config.queue_tokens,
            long_tokens=config.long_prompt_tokens,
            long_places=config.long_places * engines,
        )
        gate = (
            WorkerGate() if config.behind_router else KeyedGate(keys, Admission(queue, time.monotonic), usage)
        )
        yield Front(config, listener, gate, tell)


@contextlib.contextmanager
def listening(host: str, port: int, unix_socket: Path | None) -> Iterator[socket.socket]:
    """A listener on a port, or on a Unix socket, which is taken away at the end.

    Raises:
        ResourceError, UsageError: see `server/listener.py`.
    """
    listener = open_port(host, port) if unix_socket is None else open_unix_socket(unix_socket)
    try:
        yield listener
    finally:
        listener.close()
        if unix_socket is not None:
            unix_socket.unlink(missing_ok=True)


def end_as(ending: Ending) -> None:
    """What the end of a run is for the process.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        SystemExit: a second SIGTERM.
    """
    if ending == "interrupted":
        raise KeyboardInterrupt
    if ending == "killed":
        raise SystemExit(143)


def address_of(config: ServeConfig, port: int) -> str:
    """Where a server is, as a URL or a Unix socket."""
    if config.unix_socket is not None:
        return f"unix:{config.unix_socket}"
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if config.tls_key is not None else 'http'}://{host}:{port}"
