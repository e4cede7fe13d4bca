"""The unknown, solved for: one more never fits, and the answer always does."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, GateFailed, UsageError
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.kv_estimate import estimate_models
from llmkit.workflows.kv_estimate.models import ModelSources
from llmkit.workflows.kv_estimate.solve import LADDER, Solution, check_solved, solve_models

MODEL = ModelSources(presets=("llama-2-7b",))
MEMORY = 24 << 30


def _solve(sources: ModelSources = MODEL, **settings: Any) -> Solution:
    (one,) = solve_models(sources, EstimateConfig(**{"memory_bytes": MEMORY, **settings}))
    return one


def _fits(**settings: Any) -> bool:
    (one,) = estimate_models(MODEL, EstimateConfig(**{"memory_bytes": MEMORY, **settings}))
    assert one.fits is not None
    return one.fits


def test_one_more_token_does_not_fit() -> None:
    one = _solve(solve="context", batch=3)
    assert one.context is not None and one.answer == one.context
    assert _fits(context=one.context, batch=3) and not _fits(context=one.context + 1, batch=3)


def test_one_more_sequence_does_not_fit() -> None:
    one = _solve(solve="batch", context=1000, kv_dtype="q8_0")
    assert one.batch is not None
    settings: dict[str, Any] = {"context": 1000, "kv_dtype": "q8_0"}
    assert _fits(batch=one.batch, **settings) and not _fits(batch=one.batch + 1, **settings)


def test_the_widest_format_that_fits_is_chosen_and_all_are_shown() -> None:
    one = _solve(solve="quant", memory_bytes=6 << 30, context=4000)
    assert [rung.dtype for rung in one.rungs] == list(LADDER)
    assert one.dtype == next(rung.dtype for rung in one.rungs if rung.fits)
    for rung in one.rungs:
        assert rung.fits == (rung.total_bytes <= 6 << 30)
        assert rung.fits == _fits(memory_bytes=6 << 30, context=4000, dtype=rung.dtype, kv_dtype="bfloat16")
    sizes = [rung.weights_bytes for rung in one.rungs]
    assert sizes == sorted(sizes, reverse=True)


def test_parameters_fill_what_the_cache_leaves() -> None:
    one = _solve(solve="parameters", context=4096, dtype="bfloat16")
    cache = 4096 * 524_288
    assert one.parameters == (MEMORY - cache) // 2


def test_nothing_that_fits_is_a_gate_and_no_answer() -> None:
    words = {"context": "context", "batch": "batch", "quant": "format", "parameters": "number of parameters"}
    for unknown, word in words.items():
        one = _solve(solve=unknown, memory_bytes=1 << 20)
        assert one.answer is None and not one.unbounded
        with pytest.raises(GateFailed, match=f"llama-2-7b: no {word} fits 1,048,576 bytes"):
            check_solved([one])
    check_solved([_solve(solve="batch")])


def test_what_is_asked_for_cannot_be_given_too() -> None:
    with pytest.raises(UsageError, match="--context is given"):
        _solve(solve="context", context=9)
    with pytest.raises(UsageError, match="--dtype is given"):
        _solve(solve="quant", dtype="q8_0")
    with pytest.raises(UsageError, match="nothing to solve for"):
        _solve(solve=None)
    with pytest.raises(ConfigError, match="solving for batch needs to know the memory"):
        EstimateConfig(solve="batch")


def test_a_cache_that_does_not_grow_is_unbounded(tmp_path: Path) -> None:
    config = {
        **{"model_type": "mistral", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64},
        **{"num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 100, "sliding_window": 16},
        **{"max_position_embeddings": 64, "dtype": "bfloat16"},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    one = _solve(ModelSources(paths=(path,)), solve="context")
    assert one.unbounded and one.context is None
    check_solved([one])
    settings = EstimateConfig(memory_bytes=MEMORY, solve="context", window=False)
    (bounded,) = solve_models(ModelSources(paths=(path,)), settings)
    assert not bounded.unbounded and bounded.context


def test_a_batch_that_is_given_is_not_solved_for() -> None:
    with pytest.raises(UsageError, match="--batch is given"):
        _solve(solve="batch", batch=5)
