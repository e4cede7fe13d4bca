"""The socket that a server listens on, opened before a weight is read: a port in use is said at once."""

import socket
import stat
from pathlib import Path

from llmkit.errors import ResourceError, UsageError

BACKLOG = 2048


def open_port(host: str, port: int) -> socket.socket:
    """Listen on a port; 0 takes any that is free.

    Raises:
        ResourceError: it is in use, or not ours to use.
        UsageError: the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except socket.gaierror:
        listener.close()
        raise UsageError(
            f"--host {host}: no such address", hint="--host 127.0.0.1, or 0.0.0.0 for all"
        ) from None
    except OSError as error:
        listener.close()
        what = (error.strerror or str(error)).lower()
        raise ResourceError(f"{host}:{port}: {what}", hint="--port 0 takes one that is free") from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


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
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        listener.close()
        what = (error.strerror or str(error)).lower()
        raise ResourceError(f"{path}: {what}", hint="choose another name") from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
