"""The socket that a server listens on, opened before a weight is read: a port in use is said at once."""

import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from llmkit.errors import ResourceError, UsageError

BACKLOG = 2048


def open_port(host: str, port: int) -> socket.socket:
    """Listen on a port; 0 takes any that is free.

    Raises:
        ResourceError: it is in use, or not ours to use.
        UsageError: the host is none of this machine's.
    """

    def bind(listener: socket.socket) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except socket.gaierror:
            raise UsageError(
                f"--host {host}: no such address", hint="--host 127.0.0.1, or 0.0.0.0 for all"
            ) from None

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _listening(family, bind, f"{host}:{port}", "--port 0 takes one that is free")


def open_unix_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket that only its owner may use. One that a server has left behind is replaced.

    Raises:
        UsageError: something else is there.
        ResourceError: a server listens on it, or it cannot be made.
    """
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise UsageError(f"{path}: exists and is no socket", hint="choose another name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            try:
                trial.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise ResourceError(f"{path}: another server listens on it", hint="choose another name")

    def bind(listener: socket.socket) -> None:
        listener.bind(str(path))
        path.chmod(0o600)

    return _listening(socket.AF_UNIX, bind, str(path), "choose another name")


def _listening(family: int, bind: Callable[[socket.socket], None], where: str, hint: str) -> socket.socket:
    """A socket that listens; closed again where that cannot be."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        try:
            bind(listener)
            listener.listen(BACKLOG)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise ResourceError(f"{where}: {what}", hint=hint) from None
        listener.setblocking(False)
        stack.pop_all()
        return listener
