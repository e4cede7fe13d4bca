"""Answers of a model: the engine's, each from a seed of its own, and what they are worth."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.rollout import Prompt
from llmkit.workflows.finetune.rollout import Writer, evaluate_rewards

SIZES: dict[str, Any] = {
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3},
}
PROMPTS = [Prompt(list(b"one"), {"prompt": "one"}), Prompt(list(b"and two"), {"prompt": "and two"})]


@pytest.fixture
def make_writer(byte_tokenizer: Tokenizer) -> Callable[..., Writer]:
    """A Writer over a random model of bytes."""

    def make(temperature: float = 1.0, max_tokens: int = 6) -> Writer:
        model = Transformer(ModelConfig(**SIZES))
        initialise(model, torch.Generator().manual_seed(0))
        return Writer(model.train(), byte_tokenizer, max_tokens, temperature)

    return make


def test_greedy_answers_are_the_best_tokens_one_after_the_other(make_writer: Callable[..., Writer]) -> None:
    writer = make_writer(temperature=0.0)
    groups = writer.rollout(PROMPTS, 2, 0)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        ids = list(prompt.ids)
        with torch.no_grad():
            while len(ids) < len(prompt.ids) + 6 and ids[-1] not in (256, 258):
                ids.append(int(writer.model(torch.tensor([ids]))[0, -1].argmax()))
        assert [answer.ids for answer in group] == [ids[len(prompt.ids) :]] * 2
    assert writer.model.training  # as it was


def test_a_seed_gives_the_same_answers_again_and_those_of_a_group_differ(
    make_writer: Callable[..., Writer],
) -> None:
    first, again = (make_writer().rollout(PROMPTS, 4, 7) for _ in range(2))
    assert [[answer.ids for answer in group] for group in first] == [
        [answer.ids for answer in group] for group in again
    ]
    assert all(len({tuple(answer.ids) for answer in group}) == 4 for group in first)
    other = make_writer().rollout(PROMPTS, 4, 8)
    assert first[0][0].ids != other[0][0].ids


def test_drawing_leaves_the_global_generator_as_it_was(make_writer: Callable[..., Writer]) -> None:
    writer = make_writer()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    writer.rollout(PROMPTS, 2, 0)
    assert torch.equal(torch.rand(1), expected)


def test_validation_is_the_mean_reward_of_one_answer_each_and_lower_is_better(
    make_writer: Callable[..., Writer],
) -> None:
    seen: list[dict[str, Any]] = []

    def score(records: list[dict[str, Any]]) -> list[float]:
        seen.extend(records)
        return [1.0, 4.0]

    calls: list[int] = []
    result = evaluate_rewards(make_writer(), PROMPTS, score, lambda: calls.append(1), seed=0)
    assert [record["prompt"] for record in seen] == ["one", "and two"]
    assert all(record["completion"] for record in seen)
    assert (result.loss, result.units, result.stats["reward"], calls) == (-2.5, 2, 2.5, [1])
