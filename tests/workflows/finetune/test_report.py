"""The interval of a share, against published values."""

import pytest

from llmkit.workflows.finetune.report import accuracy_interval


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
    evaluation = {"reward_accuracy": right / count, "units": count}
    assert accuracy_interval(evaluation) == pytest.approx(expected, abs=5e-5)


def test_of_no_pairs_there_is_none() -> None:
    assert accuracy_interval({"valid_loss": 1.0}) is None
