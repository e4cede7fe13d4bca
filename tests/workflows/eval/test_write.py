"""Texts come in the order of their prompts, each as if it were alone."""

from collections.abc import Callable
from pathlib import Path

from llmkit.engine.config import SamplingConfig
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions
from llmkit.workflows.eval.write import write_texts


def test_each_text_is_what_it_is_alone_whatever_its_company(spelled_model: Callable[..., Path]) -> None:
    scorer = open_scorer(ModelOptions(model=spelled_model(), batch=3))
    prompts = [
        (scorer.encoder.encode(text), SamplingConfig(max_tokens=most, temperature=0.9, seed=seed))
        for seed, (text, most) in enumerate([("a", 9), ("b c", 2), ("The", 5), ("x", 12), ("a", 1)])
    ]
    together = list(write_texts(scorer, prompts))
    assert together == [one for prompt in prompts for one in write_texts(scorer, [prompt])]
    assert [one.tokens for one in together] == [9, 2, 5, 12, 1]
    assert {one.finish for one in together} == {"length"}
