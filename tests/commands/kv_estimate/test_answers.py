"""Answers as text: wrapped to the width, with what is not counted said, and names that cannot steer."""

from typing import Any

import pytest

from llmkit.commands.kv_estimate.answers import explanation_text, solution_text, training_text
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.explain import Explanation, explain
from llmkit.workflows.kv_estimate.kv_estimate import estimate
from llmkit.workflows.kv_estimate.models import ModelSources, read_models
from llmkit.workflows.kv_estimate.solve import Solution, solve_models
from llmkit.workflows.kv_estimate.training import estimate_training

MODEL = ModelSources(presets=("llama-3.2-1b",))


def explain_models(sources: ModelSources, settings: EstimateConfig) -> list[Explanation]:
    return [explain(model, estimate(model, settings), settings) for model in read_models(sources)]


def _solution(**settings: Any) -> Solution:
    (one,) = solve_models(MODEL, EstimateConfig(**{"memory_bytes": 8 << 30, **settings}))
    return one


def test_each_unknown_has_its_sentence() -> None:
    sentences = [
        " ".join(solution_text(_solution(solve=unknown), width=70).split("\n"))
        for unknown in ("context", "batch", "quant", "parameters")
    ]
    assert sentences[0].startswith("llama-3.2-1b: 1 sequence of up to ")
    assert sentences[1].startswith("llama-3.2-1b: 1 sequence of 131,072 tokens in 8.0 GiB")
    assert "is the widest format that fits 8.0 GiB" in sentences[2]
    assert "parameters of 16.00 bits in 8.0 GiB" in sentences[3]
    nothing = solution_text(_solution(solve="batch", memory_bytes=5), width=70)
    assert nothing == "llama-3.2-1b: nothing fits 5 B"
    free = Solution(
        **{"model": "x\x1b", "unknown": "context", "memory_bytes": 5, "context": None, "batch": 1},
        **{"dtype": "f", "parameters": 1, "bits_per_weight": 8.0, "unbounded": True},
    )
    assert solution_text(free, width=90).startswith("x\\x1b: no context is too large")


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_asked(width: int) -> None:
    training = estimate_training(MODEL, EstimateConfig(memory_bytes=1 << 34), {"zero": 3, "data_parallel": 4})
    texts = [
        training_text(training[0], width=width),
        explanation_text(explain_models(MODEL, EstimateConfig(dtype="q4_k_m"))[0], width=width),
        solution_text(_solution(solve="quant"), width=width),
    ]
    for text in texts:
        assert max(map(len, text.splitlines())) <= width


def test_training_says_what_is_exact_and_what_is_not() -> None:
    (one,) = estimate_training(MODEL, EstimateConfig(context=64, memory_bytes=1), {})
    text = training_text(one, width=80)
    assert "more than 1 B" in text and "activations are an estimate" in text
    assert "not counted: the CUDA context" in " ".join(text.split())
    (fits,) = estimate_training(MODEL, EstimateConfig(context=64, memory_bytes=1 << 40), {})
    assert "to spare" in training_text(fits, width=80)


def test_training_is_said_to_be_divided_only_in_the_ways_that_divide_it() -> None:
    config = EstimateConfig(context=64)
    for settings, said in (
        ({}, []),
        ({"data_parallel": 4}, ["data parallel 4"]),
        ({"data_parallel": 4, "zero": 1}, ["data parallel 4", "ZeRO 1"]),
    ):
        (one,) = estimate_training(MODEL, config, settings)
        first = " ".join(training_text(one, width=200).splitlines()[0].split())
        ways = ("data parallel", "ZeRO", "tensor parallel", "pipeline")
        assert [part for part in first.split(", ") if part.startswith(ways)] == said
