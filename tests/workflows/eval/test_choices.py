"""Likelihoods of continuations beside transformers, split as lm-evaluation-harness splits them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import DataError
from llmkit.workflows.eval.choices import Asked, likelihoods
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions

Make = Callable[..., Path]
PAIRS = [
    ("The cat sat on", " the mat"),
    ("The cat sat on ", "the mat"),  # a blank at the end belongs to the continuation
    ("Answer:\n\n", "B"),
    ("2 + 2 =", " 4"),
]


def _harness(folder: Path, context: str, continuation: str) -> tuple[float, bool, int]:
    """lm_eval/api/model.py `_encode_pair`, huggingface.py `_loglikelihood_tokens`, for one pair."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole, before = tokenizer.encode(context + continuation), tokenizer.encode(context)
    wanted = whole[len(before) :]
    with torch.no_grad():
        logits = model(torch.tensor([whole[:-1]])).logits[0].log_softmax(-1)[-len(wanted) :]
    greedy = logits.argmax(-1).tolist() == wanted
    return float(logits[range(len(wanted)), wanted].sum()), greedy, len(wanted)


def test_likelihoods_are_those_of_the_harness(spelled_model: Make) -> None:
    folder = spelled_model()
    scorer = open_scorer(ModelOptions(model=folder))
    asked = [Asked([scorer.pair(context, end) for end in (told, " x")]) for context, told in PAIRS]
    found = list(likelihoods(scorer, asked))
    for (context, told), answer in zip(PAIRS, found, strict=True):
        for end, one in zip((told, " x"), answer.choices, strict=True):
            logprob, greedy, count = _harness(folder, context, end)
            assert one.logprob == pytest.approx(logprob, abs=1e-4)
            assert (one.is_greedy, one.tokens) == (greedy, count)
        assert not answer.truncated


def test_what_the_model_itself_would_write_is_greedy(spelled_model: Make) -> None:
    scorer = open_scorer(ModelOptions(model=spelled_model()))
    ids = scorer.encoder.encode("The cat")
    best = int(torch.cat([*scorer.logits([*ids, 0])])[-1].argmax())
    other = (best + 1) % scorer.job.model.vocab_size
    [answer] = likelihoods(scorer, [Asked([([*ids, best], len(ids)), ([*ids, other], len(ids))])])
    assert [one.is_greedy for one in answer.choices] == [True, False]


def test_a_long_context_loses_its_beginning(spelled_model: Make) -> None:
    scorer = open_scorer(ModelOptions(model=spelled_model()))
    ids = scorer.encoder.encode("a b c d e f g h " * 20)
    assert len(ids) > scorer.context
    cut = ids[-scorer.context :]
    long, short = likelihoods(scorer, [Asked([(ids, len(ids) - 2)]), Asked([(cut, scorer.context - 2)])])
    assert (long.truncated, short.truncated) == (True, False)
    assert long.choices == short.choices
    with pytest.raises(DataError, match=f"an answer of {len(ids) - 1} tokens, and a context of"):
        list(likelihoods(scorer, [Asked([(ids, 1)])]))


def test_the_context_of_choices_is_read_once(spelled_model: Make) -> None:
    scorer = open_scorer(ModelOptions(model=spelled_model()))
    pairs = [
        scorer.pair("a b c d e f g h i j k l m n o p q r s t " * 2 + "u", end)
        for end in (" a", " b", " c", " d")
    ]
    assert len(pairs[0][0]) > 32
    list(likelihoods(scorer, [Asked(pairs)]))
    computed = scorer.engine.counts.computed_tokens
    assert computed < 2 * len(pairs[0][0])
