"""What stands for a GPU in tests without one: texts with tables of their own, a tape for CUDA graphs, and
attention over pages written as its definition says."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from llmkit.engine.cuda.graphs import Recorded
from llmkit.engine.text import Text
from tests.written_texts import known

_ASK_THE_CPU = ("item", "_local_scalar_dense", "is_nonzero", "nonzero", "lift_fresh", "equal")


class Tape(TorchDispatchMode):
    """Keeps every operation with its tensors and its numbers, as a CUDA graph does.

    A replay does the same operations on the same memory and runs no Python of the model: what is computed
    from a tensor that is not there any more, or from a number of the time of recording, comes out wrong.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in _ASK_THE_CPU, f"{name}: a value goes between the CPU and the device"
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        """Do it again, and leave each result where it was."""
        for func, args, kwargs, result in self.operations:
            kept, again = tree_flatten(result)[0], tree_flatten(func(*args, **kwargs))[0]
            for old, new in zip(kept, again, strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """A recorder that counts."""

    def __init__(self) -> None:
        self.recordings = 0
        self.replays = 0

    def record(self, call: Callable[[], Tensor]) -> Recorded:
        """See `Recorder`."""
        self.recordings += 1
        tape = Tape()
        with tape:
            output = call()
        output.fill_(float("nan"))  # as CUDA, which computes nothing while it records

        def replay() -> None:
            self.replays += 1
            tape.replay()

        return Recorded(replay, output)


@pytest.fixture
def tape_recorder() -> TapeRecorder:
    """A new one."""
    return TapeRecorder()


@pytest.fixture
def make_text() -> Callable[..., Text]:
    """A text with so many tokens, and the blocks of these numbers."""

    def make(tokens: list[int], table: list[int], drafts: tuple[int, ...] = (), number: int = 0) -> Text:
        return known(number, tokens, table, drafts=drafts)

    return make


@pytest.fixture
def interpreted() -> None:
    """Triton's interpreter in the place of its compiler: kernels run on a CPU, a program at a time."""
    pytest.importorskip("triton", reason="Triton is not installed: it comes with torch's CUDA builds")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles for this GPU: its kernels are tested by tests/device")
