"""Decoding recorded once and replayed: a GPU then waits for no Python between the kernels of a pass.

A recording is bound to the tensors that it read and wrote, and to every number that Python computed while it
was made. So it reads one tensor of inputs that stays, there is one for each of a few numbers of texts, and
texts that are missing are padded.
Shapes: N texts, padded; V vocab_size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from llmkit.engine.cuda.batch import PADDING_SLOT

_WARM_UPS = 2
"""Runs before a recording: libraries set up their workspaces in the first."""
DecodeStep = Callable[[Tensor, int], Tensor]
"""Inputs (3, N) int64 (ids, positions, rows of the block tables) and blocks of the longest text to (N, V)."""


@dataclass(frozen=True)
class Recorded:
    """A recording."""

    replay: Callable[[], object]
    output: Tensor
    """What it writes, each time."""


class Recorder(Protocol):
    """Records what a call does on the device."""

    def record(self, call: Callable[[], Tensor]) -> Recorded:
        """Record a call. Whether it has also been executed is not said: replay it."""


class CudaRecorder:
    """CUDA graphs, all with their memory in one pool: they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None  # an opaque handle
        self._aside: torch.cuda.Stream | None = None  # the same each time: each costs libraries a workspace

    def record(self, call: Callable[[], Tensor]) -> Recorded:
        """See `Recorder`."""
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            aside = self._aside = self._aside or torch.cuda.Stream()
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    call()
            current.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=aside, capture_error_mode="thread_local"):
                output = call()
            self._pool = graph.pool()
        return Recorded(graph.replay, output)


class DecodeGraphs:
    """The decode step for any number of texts up to a limit, recorded when it is first needed."""

    def __init__(
        self, step: DecodeStep, recorder: Recorder, max_texts: int, most_blocks: int, device: torch.device
    ) -> None:
        """
        Args:
            step: what is recorded. What it computes depends on tensors only, and these stay.
            recorder: how.
            max_texts: most in a pass.
            most_blocks: that a text can have.
            device: where the inputs are.
        """
        self._step = step
        self._recorder = recorder
        self._device = device
        self._most_blocks = most_blocks
        self._sizes = padded_sizes(max_texts)
        self._inputs: dict[int, Tensor] = {}
        self._recorded: dict[tuple[int, int], Recorded] = {}

    @property
    def count(self) -> int:
        """Recordings made so far."""
        return len(self._recorded)

    def run(self, rows: Sequence[tuple[int, int, int]], width: int) -> Tensor:
        """Scores (N, V) of the next token of each text; the next call overwrites them.

        Args:
            rows: id, position, and row of the block tables of each text.
            width: blocks of the longest.
        """
        size = next(size for size in self._sizes if size >= len(rows))
        padded = [*rows, *[(0, 0, PADDING_SLOT)] * (size - len(rows))]
        inputs = self._inputs_of(size)
        pinned = self._device.type == "cuda"
        inputs.copy_(torch.tensor(list(zip(*padded, strict=True)), pin_memory=pinned), non_blocking=True)
        width = min(1 << (width - 1).bit_length(), self._most_blocks)
        recorded = self._recorded.get((size, width))
        if recorded is None:
            recorded = self._recorder.record(lambda: self._step(inputs, width))
            self._recorded[size, width] = recorded
        recorded.replay()
        return recorded.output[: len(rows)]

    def _inputs_of(self, size: int) -> Tensor:
        if size not in self._inputs:
            self._inputs[size] = torch.empty(3, size, dtype=torch.int64, device=self._device)
        return self._inputs[size]


def padded_sizes(max_texts: int) -> tuple[int, ...]:
    """Numbers of texts that are recorded: powers of two, and the most there can be."""
    powers = [1 << power for power in range(max_texts.bit_length()) if 1 << power < max_texts]
    return (*powers, max_texts)
