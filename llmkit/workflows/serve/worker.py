"""A worker of `llmkit serve --replicas`: `python -m llmkit.workflows.serve.worker`, started by the router.

Its settings come as the first line of stdin. Stdin then stays open for as long as the router lives. See
`server/router/supervisor.py`.
"""

import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.config import GenerateConfig
from llmkit.errors import LlmkitError, told
from llmkit.machine import end_with_parent
from llmkit.server.config import ServeConfig


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker serves, and how."""

    model: Path
    name: str
    tokenizer: Path | None
    serve: ServeConfig
    engine: GenerateConfig


def encode_settings(settings: WorkerSettings) -> bytes:
    """Settings as a line."""
    return msgspec.json.encode(settings, enc_hook=_as_text)


def read_settings(line: bytes) -> WorkerSettings:
    """Settings again.

    Raises:
        msgspec.DecodeError: it is no such line.
    """
    return msgspec.json.decode(line, type=WorkerSettings, dec_hook=_from_text)


def end_with_router(stdin: int) -> None:
    """End this process when the router does, however it does: by the kernel's word where there is one, and as
    the pipe from the router closes."""
    end_with_parent(signal.SIGKILL)

    def wait() -> None:
        while os.read(stdin, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, name="router", daemon=True).start()


def main() -> None:
    """Serve until the router says to end, or is gone."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the router has the keys that it is about
    ready = os.dup(1)
    os.dup2(2, 1)  # what else is written to stdout is not for the router
    settings = read_settings(sys.stdin.buffer.readline())
    end_with_router(sys.stdin.fileno())
    from llmkit.workflows.serve.serve import open_serve_job, serve

    try:
        job = open_serve_job(settings.model, settings.tokenizer, settings.engine)
        serve(job, replace(settings.serve, ready_fd=ready), name=settings.name, note=lambda _: None)
    except LlmkitError as error:
        os.write(ready, msgspec.json.encode(told(error)) + b"\n")
        sys.exit(error.status)


def _as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _from_text(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)


if __name__ == "__main__":
    main()
