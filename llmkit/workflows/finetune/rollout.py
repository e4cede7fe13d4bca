"""Answers of the model in training, by the engine: what GRPO learns from, and what a person looks at."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.evaluate import Evaluation
from llmkit.train.rollout import Completion, Prompt, Score
from llmkit.workflows.run.sample import shorten, write_texts

_MAX_TEXTS = 32


@dataclass(frozen=True)
class Writer:
    """Writes answers to prompts.

    A rollout draws each answer with a seed of its own, so that a resumed run draws the same ones.
    """

    model: Transformer
    tokenizer: Tokenizer
    max_tokens: int
    """Of an answer."""
    temperature: float = 1.0

    def rollout(self, prompts: list[Prompt], group_size: int, seed: int) -> list[list[Completion]]:
        """A group of answers for each prompt."""
        turns = [
            (prompt.ids, _seed_of(seed, number, turn))
            for number, prompt in enumerate(prompts)
            for turn in range(group_size)
        ]
        answers = self.write([ids for ids, _ in turns], [own for _, own in turns])
        return [answers[start : start + group_size] for start in range(0, len(answers), group_size)]

    def write(self, prompts: Sequence[list[int]], seeds: Sequence[int]) -> list[Completion]:
        """An answer to each prompt, drawn with its seed."""
        ends = [PromptEncoder(self.tokenizer).turn_end, self.tokenizer.eos_id]
        stop_ids = frozenset(one for one in ends if one is not None)
        requests = [
            Request(
                tuple(shorten(ids, self.model, self.max_tokens)),
                SamplingConfig(max_tokens=self.max_tokens, temperature=self.temperature, seed=seed),
                stop_ids,
            )
            for ids, seed in zip(prompts, seeds, strict=True)
        ]
        texts = write_texts(self.model, self.tokenizer, requests, max_texts=min(_MAX_TEXTS, len(requests)))
        return [Completion([one.id for one in text.drawn], text.text or "") for text in texts]


def evaluate_rewards(
    writer: Writer, prompts: Sequence[Prompt], score: Score, between: Callable[[], None], *, seed: int
) -> Evaluation:
    """The mean reward of one answer to each prompt; its negative is the loss, so that lower is better.

    Args:
        writer: with the model.
        prompts: held out.
        score: rewards answers.
        between: called between batches; may raise to stop.
        seed: of the answers.
    """
    rewards: list[float] = []
    tokens = 0
    for start in range(0, len(prompts), _MAX_TEXTS):
        part = list(prompts[start : start + _MAX_TEXTS])
        groups = writer.rollout(part, 1, _seed_of(seed, start, 0))
        rewards += score(
            [
                {**prompt.record, "completion": group[0].text}
                for prompt, group in zip(part, groups, strict=True)
            ]
        )
        tokens += sum(len(group[0].ids) for group in groups)
        between()
    mean = sum(rewards) / len(rewards)
    figures = {"reward": mean, "completion_tokens": tokens / len(rewards)}
    return Evaluation(-mean, None, tokens, len(rewards), figures)


def _seed_of(*numbers: int) -> int:
    """A seed for each place, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4], "big") >> 1
