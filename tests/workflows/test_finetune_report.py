"""The interval of a share, against published values."""

import pytest

from llmkit.workflows.finetune_report import wilson_interval


@pytest.mark.parametrize(
    ("right", "count", "expected"),
    [  # Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_it_is_wilsons(right: int, count: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(right / count, count) == pytest.approx(expected, abs=5e-5)
