"""llama.cpp as the peer of a bench: the same weights, written as GGUF, in a process that it has for itself.

It takes turns with llmkit and has its own clock, so that neither its threads nor its memory are in our way,
and nothing of ours is in its time. What it runs: llama_c.py.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmkit.errors import MissingError, ResourceError
from llmkit.machine import free_bytes
from llmkit.model.transformer import Transformer
from llmkit.probe.timing import Clocked
from llmkit.workflows.bench import llama_c
from llmkit.workflows.bench.llama_gguf import write_peer_gguf

LLAMA_CPP = "llama.cpp"
_PACKAGE = "xllamacpp"
_OURS = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")
"""Of the environment: what may suit torch's threads here is not said of llama.cpp's there."""
_SUFFIXES = ("so", "dylib")


def find_library(path: str | None) -> Path:
    """llama.cpp's shared library.

    Args:
        path: a library, a folder with libllama, or llama-bench beside one; None: the one in xllamacpp.

    Raises:
        MissingError: it is not there.
    """
    if path is None:
        spec = find_spec(_PACKAGE)
        folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
        name, hint = _PACKAGE, f"pip install 'llmkit[bench]', or --against {LLAMA_CPP}:FOLDER with a libllama"
    else:
        given = Path(path)
        if given.is_file() and given.suffix.removeprefix(".") in _SUFFIXES:
            return given.resolve()
        folder = given if given.is_dir() else given.parent if given.is_file() else None
        name, hint = "libllama", "build llama.cpp with BUILD_SHARED_LIBS=ON and name its build/bin"
    for suffix in _SUFFIXES if folder is not None else ():
        found = sorted(folder.glob(f"{name}*.{suffix}")) if folder is not None else []
        if found:
            return found[0].resolve()
    where = "the package xllamacpp is not installed" if path is None else f"{path}: no {name} there"
    raise MissingError(f"--against {LLAMA_CPP}: {where}", hint=hint)


class LlamaPeer:
    """A model that llama.cpp has loaded, and a line to it. Close it; the file goes with it."""

    def __init__(self, library: Path, model: Transformer | Path, weights: str) -> None:
        """
        Args:
            library: as `find_library` gives it.
            model: whose weights it gets; or a GGUF file, which it reads as it is.
            weights: stored, int8 or int4.

        Raises:
            ConfigError: llama.cpp has no such family.
            ResourceError: no room for the file, or llama.cpp does not go on; then with what it said last.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="llmkit-bench-")
        try:
            file = model if isinstance(model, Path) else self._write(model, weights)
            self.file_bytes = file.stat().st_size
            self._stderr = (Path(self._folder.name) / "stderr").open("w+b")
            self._process = subprocess.Popen(
                [sys.executable, llama_c.__file__, str(library), str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={name: value for name, value in os.environ.items() if name not in _OURS},
            )
        except BaseException:
            self._folder.cleanup()
            raise
        self.memory_bytes = 0
        """The most that its process has held so far."""
        try:
            self.system: str = self._answer()["system"].strip(" |\n")
        except BaseException:
            self.close()
            raise

    def _write(self, model: Transformer, weights: str) -> Path:
        file = Path(self._folder.name) / "model.gguf"
        _require_room(file.parent, sum(one.nbytes for one in model.parameters()))
        write_peer_gguf(model, weights, file)
        return file

    def context(self, held: Sequence[Sequence[int]], positions: int, threads: int) -> int:
        """Texts that hold some ids each, and have room for `positions`. Returns their number."""
        return int(
            self._ask({"do": "context", "held": held, "positions": positions, "threads": threads})["context"]
        )

    def prefill(self, context: int, ids: Sequence[int]) -> "LlamaRun":
        """Read a prompt as the first text goes on."""
        return self._run({"do": "prefill", "context": context, "ids": ids})

    def decode(self, context: int, ids: Sequence[Sequence[int]]) -> "LlamaRun":
        """Read an id of every text at each step, steps x texts."""
        return self._run({"do": "decode", "context": context, "ids": ids})

    def close(self) -> None:
        """End its process and remove its file."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()
        self._folder.cleanup()

    def _run(self, request: dict[str, Any]) -> "LlamaRun":
        done = self._ask(request)
        self.memory_bytes = int(done["memory_bytes"])
        return LlamaRun(done["seconds"], done["cpu_seconds"], tuple(done["best"]))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and the answer tells why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self._process.wait()
        self._stderr.seek(0)
        said = ["no word", *self._stderr.read().decode(errors="replace").strip().splitlines()][-1]
        raise ResourceError(
            f"--against {LLAMA_CPP}: its process ended with status {status}: {said}",
            hint="fewer or smaller cases, another build of llama.cpp, or leave out --against",
        )


@dataclass(frozen=True)
class LlamaRun(Clocked):
    """What one run took by the process's own clock, and the best next id of each text that it scored."""

    best: tuple[int, ...]


def _require_room(folder: Path, num_bytes: int) -> None:
    room = free_bytes(folder)
    if room < num_bytes:
        raise ResourceError(
            f"--against {LLAMA_CPP}: the weights take up to {num_bytes:,} bytes as a GGUF file "
            f"(found {room:,} free)",
            hint="set TMPDIR to a folder with more room",
        )
