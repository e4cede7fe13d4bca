"""Line by line: every section adds up to the figure of the estimate itself."""

from pathlib import Path

import pytest

from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.explain import Explanation, explain
from llmkit.workflows.kv_estimate.kv_estimate import estimate, estimate_models
from llmkit.workflows.kv_estimate.models import ModelSources, read_models


def explain_models(sources: ModelSources, settings: EstimateConfig) -> list[Explanation]:
    return [explain(model, estimate(model, settings), settings) for model in read_models(sources)]


@pytest.mark.parametrize(
    "settings",
    [
        EstimateConfig(context=1000, batch=3),
        EstimateConfig(context=1000, dtype="q4_k_m", kv_dtype="q8_0", shared_prefix=100, batch=2),
        EstimateConfig(context=1000, tensor_parallel=2),
    ],
)
def test_the_lines_add_up(settings: EstimateConfig) -> None:
    sources = ModelSources(presets=("llama-3.2-1b", "gpt2", "tiny"))
    for one, told in zip(estimate_models(sources, settings), explain_models(sources, settings), strict=True):
        assert told.model == one.model
        assert sum(line.result for line in told.parameters) == one.parameters
        assert sum(line.result for line in told.weights) == one.weights_bytes
        assert sum(line.result for line in told.kv_cache) == one.kv_bytes


def test_the_numbers_of_a_line_multiply_to_its_result() -> None:
    (told,) = explain_models(ModelSources(presets=("llama-3.2-1b",)), EstimateConfig())
    for line in told.parameters:
        product = 1
        for number in line.numbers.replace(",", "").split(" x "):
            product *= int(number)
        assert product == line.result


def test_layers_that_keep_different_things_have_lines_of_their_own(shared_data: Path) -> None:
    sources = ModelSources(paths=(shared_data / "configs" / "gemma-2-9b-it",))
    (told,) = explain_models(sources, EstimateConfig(context=32_768))
    assert [line.result for line in told.kv_cache] == [
        21 * 2 * 8 * 256 * 2 * 4096,
        21 * 2 * 8 * 256 * 2 * 32_768,
    ]
    assert all(line.source for line in told.kv_cache)


def test_a_cache_alone_has_neither_parameters_nor_weights() -> None:
    cache = ModelSources(overrides={"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 8})
    (told,) = explain_models(cache, EstimateConfig(context=10))
    assert (told.parameters, told.weights) == ([], [])
    assert told.kv_cache[0].result == 3 * 2 * 2 * 8 * 2 * 10
