"""Points of a sweep and the names of their rows."""

import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.probe.work import Work
from llmkit.workflows.bench.case import BenchCase, check_positions, sweep

CONFIG = ModelConfig(
    vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
    max_position_embeddings=32,
)  # fmt: skip


def test_a_sweep_is_the_cartesian_product_the_last_dimension_fastest() -> None:
    points = sweep({"prompt": (4, 8), "depth": (0, 3), "dtype": ("float32", "bfloat16")})
    assert [tuple(point.values()) for point in points] == [
        *((4, 0, "float32"), (4, 0, "bfloat16"), (4, 3, "float32"), (4, 3, "bfloat16")),
        *((8, 0, "float32"), (8, 0, "bfloat16"), (8, 3, "float32"), (8, 3, "bfloat16")),
    ]


def test_only_a_depth_may_be_nothing() -> None:
    assert sweep({"depth": (0,)}) == [{"depth": 0}]
    for name in ("prompt", "tokens", "batch_rows", "seq_len", "threads"):
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} must be at least 1"):
            sweep({name: (0,)})


def test_more_threads_or_cases_than_can_be_run_are_refused() -> None:
    assert len(sweep({"threads": (1, 1024, "auto")})) == 3
    with pytest.raises(ConfigError, match="--threads must be at most 1,024"):
        sweep({"threads": (1, 1025)})
    assert len(sweep({"tokens": range(1, 101), "depth": range(10)})) == 1000
    with pytest.raises(ConfigError, match="has 1,100 cases"):
        sweep({"tokens": range(1, 101), "depth": range(11)})


def test_a_name_tells_engine_and_point() -> None:
    case = BenchCase("llmkit", {"prompt": 4, "dtype": "float32"}, Work(4, 1), lambda: None)
    assert case.name == "llmkit prompt=4 dtype=float32"


def test_the_hint_for_a_case_that_is_too_long_is_a_size_that_fits() -> None:
    point = {"prompt": 20, "depth": 13, "threads": 64, "dtype": "float32"}
    check_positions(CONFIG, point, 32)
    with pytest.raises(UsageError, match="33 positions, but the model has 32") as caught:
        check_positions(CONFIG, point, 33)
    assert caught.value.hint == "--prompt 19"
