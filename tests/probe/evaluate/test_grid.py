"""Grids and the effective length."""

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.grid import check_depths, default_lengths, effective_length, task_grid


def test_cells_and_lengths_are_means_in_percent() -> None:
    scores = [(64, 0.0, 1.0), (64, 0.0, 0.0), (64, 50.0, 1.0), (128, 0.0, 0.25), (128, 50.0, 0.75)]
    grid = task_grid("needle", scores, threshold=60)
    assert [(one.length, one.depth, one.score, one.samples) for one in grid.cells] == [
        (64, 0.0, 50.0, 2), (64, 50.0, 100.0, 1), (128, 0.0, 25.0, 1), (128, 50.0, 75.0, 1)
    ]  # fmt: skip
    assert [(one.length, one.score) for one in grid.lengths] == [(64, 75.0), (128, 50.0)]
    assert grid.effective_length == 64
    assert grid.depths == [0.0, 50.0]
    assert task_grid("vt", [(64, None, 1.0), (128, None, 0.0)], threshold=60).depths == [None]


def test_the_effective_length_is_the_longest_that_reaches_the_threshold() -> None:
    # RULER, table 3: Llama-3.1-70B is above 85.6 to 64K, not at 128K
    llama = {4096: 96.5, 8192: 95.8, 16384: 95.4, 32768: 94.8, 65536: 88.4, 131072: 66.6}
    assert effective_length(llama, 85.6) == 65536
    assert effective_length({64: 85.6}, 85.6) == 64
    assert effective_length({64: 85.5}, 85.6) is None


def test_default_lengths_end_with_the_context() -> None:
    assert default_lengths(512) == (64, 128, 256, 512)


def test_a_depth_beyond_the_text_is_refused() -> None:
    with pytest.raises(UsageError, match="101"):
        check_depths([0, 101])
