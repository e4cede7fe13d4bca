"""What stands for `llmkit` and Python: hands its life to a fork of the zygote, and passes signals on to it.

Imports nothing but what Python starts with in milliseconds: `zygote.py` writes the scripts that call `main`.
"""

import marshal
import os
import resource
import signal
import socket
import sys

AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "OPENBLAS_", "LD_", "MALLOC_", "GLIBC_", "TORCH")
"""Beginnings of variables that are read when a process starts, too early for a fork to hear of them."""
LATER = ("TORCHELASTIC_", "TORCH_NCCL_", "TORCHINDUCTOR_CACHE_DIR")
"""Beginnings of those that torch reads when processes find each other, and when it compiles. The last one it
sets itself, in the tests' own process too: each line after a first compiled kernel was a real process."""

LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


def inherited() -> tuple[object, ...]:
    """What a process has from its parent and a fork of the zygote would have from the zygote instead."""
    mask = os.umask(0o22)
    os.umask(mask)
    return (
        mask,
        tuple(sorted(pair for pair in os.environ.items() if _is_read_at_start(pair[0]))),
        tuple(resource.getrlimit(getattr(resource, name)) for name in LIMITS),
        tuple(signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)),
    )


def main(address: str, real: str, zygote_has: str) -> None:
    """Run what this process was asked to, with its words, files, folder and environment, and end as it ends.

    Args:
        address: Path of the zygote's socket.
        real: Path of the program in whose place this stands: the script `llmkit` that pip wrote, or Python
            with `-c` or `-m`. It runs instead where a fork could not be the same.
        zygote_has: `repr(inherited())` of the zygote.
    """
    arguments = [real, *sys.argv[1:]]
    can_fork = arguments[0].endswith("llmkit") or arguments[1:2] in (["-c"], ["-m"], ["-P"])
    if not can_fork or repr(inherited()) != zygote_has or not all(map(_is_open, range(3))):
        os.execv(real, arguments)
    files = [0, 1, 2, *filter(_is_inherited, range(3, 64))]
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = marshal.dumps((arguments, os.getcwd(), dict(os.environ), files))  # noqa: PTH109 pathlib is slow to import
    try:
        server.connect(address)
        socket.send_fds(server, [request], files)
    except OSError:  # more words than a packet holds
        os.execv(real, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.send(b"%d" % number))
    null = os.open(os.devnull, os.O_RDWR)
    for file in files:  # a pipe is closed when the fork closes it
        os.dup2(null, file)
    status = int(server.recv(16) or b"70")
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _is_read_at_start(name: str) -> bool:
    return name.startswith(AT_START) and not name.startswith(LATER)


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _is_inherited(file: int) -> bool:
    return _is_open(file) and os.get_inheritable(file)
