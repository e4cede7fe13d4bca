"""A process that has imported all of llmkit once, and forks for each `llmkit` that the tests run in a shell.

It forks for programs too: beside the folder of that `llmkit` is a `python`, for `python -c` and `python -m`.

A process of llmkit spends 3 seconds on importing torch and a tenth of one on a small job. A fork of the
zygote is as much a process of its own: its own streams, folder, environment, signals and exit status. What it
cannot have anew is what was decided before the fork: which modules are loaded, the order of sets, and
`inherited()` of the client. And it spares itself two seconds of looking for the machine's top speed, which
`bench` and training set their figures beside, and waiting for the disk. A line that needs those anew gets a
real process: `PYTHONHASHSEED=1 llmkit`.

A fork that is told EXECUTABLE starts that as its own Python: processes that a run starts are forks then.

As a script: `python zygote.py SOCKET` prints its `inherited()` when it is ready, and ends with its stdin.
"""

import atexit
import contextlib
import fcntl
import gc
import marshal
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import FunctionType, ModuleType
from typing import NamedTuple, NoReturn

from zygote_client import inherited

LARGEST = 1 << 20  # bytes of a packet: the words and the environment of one command line
MOST_FILES = 64
FREE = 100  # a number that is no file's
EXECUTABLE = "LLMKIT_TESTS_PYTHON"
HERE = Path(__file__).parent
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}  # no pool of threads at import: a fork has one thread


class Request(NamedTuple):
    """One command line to run: its words, folder, environment, and files: three streams, and others."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    numbers: list[int]
    """Of the files there."""
    files: list[int]
    """The same ones here."""


@contextlib.contextmanager
def running_zygote(folder: Path) -> Iterator[Path]:
    """Start a zygote and write the `llmkit` that asks it; yields the folder to put on the PATH.

    Where the system cannot wait for a fork and a socket at once, it is the folder of the real script.
    """
    real = Path(sys.executable).parent
    if not hasattr(os, "pidfd_open"):
        yield real
        return
    address = folder / "socket"
    with subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,  # Ctrl-C on the tests is for the tests
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        has = process.stdout.readline().decode().strip()
        assert has, "the zygote ended before it was ready"
        bin_dir = folder / "bin"
        bin_dir.mkdir()
        for script, program in (
            (bin_dir / "llmkit", str(real / "llmkit")),
            (folder / "python", sys.executable),
        ):
            script.write_text(
                f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(HERE)!r})\n"
                f"from zygote_client import main\nmain({str(address)!r}, {program!r}, {has!r})\n"
            )
            script.chmod(0o755)
        yield bin_dir
        process.stdin.close()


def serve(server: socket.socket) -> Request:
    """Fork for each request, pass signals to the forks and their exit status back. Returns in the forks.

    Raises:
        SystemExit: In the zygote, when its stdin ends.
    """
    ready = selectors.DefaultSelector()
    ready.register(server, selectors.EVENT_READ, "request")
    ready.register(0, selectors.EVENT_READ, "end")
    groups: dict[socket.socket, int] = {}  # a client and the process group of its fork
    while True:
        for key, _ in ready.select():
            if key.data == "end":
                raise SystemExit
            if key.data == "request":
                client, _ = server.accept()
                packet, files, _, _ = socket.recv_fds(client, LARGEST, MOST_FILES)
                child = os.fork()
                if child == 0:
                    os.setpgid(0, 0)
                    opened = [one.fileobj for one in ready.get_map().values() if one.fd != 0]
                    for one in (*opened, ready, client):
                        os.close(one) if isinstance(one, int) else one.close()
                    return Request(*marshal.loads(packet), files)
                with contextlib.suppress(PermissionError):  # the child was quicker
                    os.setpgid(child, child)
                for file in files:
                    os.close(file)
                groups[client] = child
                ready.register(client, selectors.EVENT_READ, "signal")
                ready.register(os.pidfd_open(child), selectors.EVENT_READ, (child, client))
            elif key.data == "signal" and key.fileobj in groups:
                client = key.fileobj
                number = int(client.recv(16) or signal.SIGKILL)  # a client that was killed
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(groups[client], number)
                if number == signal.SIGKILL:
                    ready.unregister(client)
            elif isinstance(key.data, tuple):
                child, client = key.data
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                ready.unregister(key.fileobj)
                os.close(key.fd)
                with contextlib.suppress(KeyError):
                    ready.unregister(client)
                with contextlib.suppress(BrokenPipeError):
                    client.send(b"%d" % status)
                client.close()
                del groups[client]


def become(request: Request) -> None:
    """Make this fork what a new process with these words, files, folder and environment is."""
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD, FREE) for file in request.files]
    for file in request.files:
        os.close(file)
    for number, file in zip(request.numbers, aside, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = list(request.arguments)
    sys.path[0] = str(Path(sys.argv[0]).parent)
    sys.executable = request.environment.get(EXECUTABLE, sys.executable)
    kinds = (sys.stdin.encoding, sys.stdin.errors), (sys.stdout.encoding, sys.stdout.errors)
    sys.stdin = sys.__stdin__ = os.fdopen(0, "r", -1, *kinds[0], closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", 1 if os.isatty(1) else -1, *kinds[1], closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, kinds[1][0], "backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def load() -> None:
    """Import every module of llmkit, without one operation of torch: its threads would not outlive a fork."""
    import torch._dynamo  # noqa: F401  a divided run asks for it, in 0.6 s of each process

    import llmkit

    for module in walk_packages(llmkit.__path__, "llmkit."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(Exception):  # it fails again, and is seen, where a command needs it
                import_module(module.name)
    from llmkit.probe.machine_speed import SpeedProbe
    from llmkit.train import hardware

    SpeedProbe.__init__.__kwdefaults__.update(stream_bytes=1 << 20, sides=(64,))
    hardware._MATRIX = 64
    os.fsync = os.fstat  # no test loses power
    gc.collect()
    _let_forks_end_quickly()
    gc.freeze()  # so that collecting in a fork copies no page


def _let_forks_end_quickly() -> None:
    """Leave out what libraries do at the end for the sake of memory: 10,000 pages to copy, 70 ms."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # torch.library's
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename == "<internal>":
            atexit.unregister(one)  # nanobind's


def _main(address: str) -> None:
    has = repr(inherited())  # before torch sets variables of its own
    load()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread would be missing in every fork"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen(64)
        print(has, flush=True)
        request = serve(server)
    become(request)
    try:
        run()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        end(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        end(1)
    end(0)


def run() -> None:
    """Do what this fork was asked to: `llmkit ARGS`, `python -c CODE ARGS` or `python -m MODULE ARGS`."""
    program = sys.argv.pop(0)
    if Path(program).name == "llmkit":
        from llmkit.cli import main

        sys.argv.insert(0, program)
        main()
        return
    is_safe = sys.argv[0] == "-P"
    kind, content, *words = sys.argv[is_safe:]
    if kind == "-m":
        sys.argv = [content, *words]
        sys.path[:1] = [] if is_safe else [str(Path.cwd())]
        sys.modules.pop(content, None)  # it runs as a program, not as what was imported
        runpy.run_module(content, run_name="__main__", alter_sys=True)
        return
    sys.argv, sys.path[0] = ["-c", *words], ""
    module = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(content, "<string>", "exec"), module.__dict__)


def end(status: int) -> NoReturn:
    """End this fork as an interpreter ends, but for taking its objects apart: 30,000 pages to copy, 0.3 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = 120
    os._exit(status)


if __name__ == "__main__":
    _main(sys.argv[1])
