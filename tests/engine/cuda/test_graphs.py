"""Recordings of the decode step: few, padded, and true to inputs that they have never seen."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.engine.cuda.graphs import DecodeGraphs, padded_sizes

CPU = torch.device("cpu")


def _step(inputs: Tensor, width: int) -> Tensor:
    ids, positions, slots = inputs
    return torch.stack((ids * 100 + positions, slots * width, torch.full_like(ids, width)), 1)


def _graphs(recorder: Any, step: Callable[[Tensor, int], Tensor] = _step) -> DecodeGraphs:
    return DecodeGraphs(step, recorder, 6, 12, CPU)


def test_sizes_are_powers_of_two_and_the_most_there_is() -> None:
    assert padded_sizes(1) == (1,) and padded_sizes(2) == (1, 2) and padded_sizes(32) == (1, 2, 4, 8, 16, 32)
    assert padded_sizes(6) == (1, 2, 4, 6) and padded_sizes(17) == (1, 2, 4, 8, 16, 17)


@torch.inference_mode()
def test_rows_are_computed_by_one_recording_a_size_and_a_width(tape_recorder: Any) -> None:
    tape_recorder = _Integers(tape_recorder)
    graphs = _graphs(tape_recorder)
    made = 0
    for texts, width, padded, new in [
        (1, 1, 1, 1), (1, 1, 1, 0), (3, 2, 2, 1), (4, 2, 2, 0), (3, 3, 4, 1), (4, 4, 4, 0),
        (5, 9, 12, 1), (6, 12, 12, 0),
    ]:  # fmt: skip
        rows = [(number + width, 7 * number + texts, number + 1) for number in range(texts)]
        found = graphs.run(rows, width)
        expected = [[one * 100 + at, slot * padded, padded] for one, at, slot in rows]
        assert found.tolist() == expected
        made += new
        assert graphs.count == made == tape_recorder.inner.recordings


@torch.inference_mode()
def test_texts_that_are_missing_are_the_padding_row_at_its_first_position(tape_recorder: Any) -> None:
    seen: list[Tensor] = []

    def step(inputs: Tensor, width: int) -> Tensor:
        seen.append(inputs)
        return inputs.T.float()

    assert _graphs(tape_recorder, step).run([(5, 6, 7)] * 3, 1).tolist() == [[5, 6, 7]] * 3
    assert seen[0].T.tolist() == [[5, 6, 7]] * 3 + [[0, 0, 0]]


@torch.inference_mode()
@pytest.mark.parametrize("fault", ["a number", "a new tensor", "a question"])
def test_the_tape_tells_what_a_graph_could_not_replay(tape_recorder: Any, fault: str) -> None:
    """The stand-in for CUDA graphs is one only if it fails where they do."""
    outside: list[Any] = [1.0, torch.ones(())]

    def step(inputs: Tensor, width: int) -> Tensor:
        if fault == "a question":
            return inputs.T.float() * int(inputs[0, 0])
        return inputs.T.float() * (outside[0] if fault == "a number" else outside[1])

    graphs = _graphs(tape_recorder, step)
    if fault == "a question":
        with pytest.raises(AssertionError, match="between the CPU and the device"):
            graphs.run([(1, 2, 3)], 1)
        return
    graphs.run([(1, 2, 3)], 1)
    outside[:] = [2.0, torch.tensor(2.0)]
    assert graphs.run([(1, 2, 3)], 1).tolist() == [[1, 2, 3]]  # what was, not what is


class _Integers:
    """The tape, for results that cannot be filled with what is no number."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def record(self, call: Callable[[], Tensor]) -> Any:
        return self.inner.record(lambda: call().double())
