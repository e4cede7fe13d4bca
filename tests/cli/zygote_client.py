"""What stands on the PATH as `llmkit`: hands its life to a fork of the zygote, and passes signals on to it.

Imports nothing but what Python starts with in milliseconds: `zygote.py` writes the script that calls `main`.
"""

import marshal
import os
import resource
import signal
import socket
import sys

AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "OPENBLAS_", "LD_", "MALLOC_", "GLIBC_", "TORCH")
"""Beginnings of variables that are read when a process starts, too early for a fork to hear of them."""

LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


def inherited() -> tuple[object, ...]:
    """What a process has from its parent and a fork of the zygote would have from the zygote instead."""
    mask = os.umask(0o22)
    os.umask(mask)
    return (
        mask,
        tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(AT_START))),
        tuple(resource.getrlimit(getattr(resource, name)) for name in LIMITS),
        tuple(signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)),
    )


def main(address: str, real: str, zygote_has: str) -> None:
    """Run `llmkit` with this process's words, streams, folder and environment, and end as it ends.

    Args:
        address: Path of the zygote's socket.
        real: Path of the script that pip wrote; it runs instead where a fork could not be the same.
        zygote_has: `repr(inherited())` of the zygote.
    """
    arguments = [real, *sys.argv[1:]]
    if repr(inherited()) != zygote_has or not all(map(_is_open, range(3))):
        os.execv(real, arguments)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109 pathlib is slow to import
    try:
        server.connect(address)
        socket.send_fds(server, [request], [0, 1, 2])
    except OSError:  # more words than a packet holds
        os.execv(real, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.send(b"%d" % number))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # a pipe is closed when the fork closes it
        os.dup2(null, stream)
    status = int(server.recv(16) or b"70")
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True
