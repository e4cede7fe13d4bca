"""Which of several continuations a model finds most likely, and whether it is the right one.

As lm-evaluation-harness judges it (lm_eval/api/task.py, `process_results` of multiple_choice):

    acc        the largest log-likelihood
    acc_norm   the largest log-likelihood per character of the choice
    acc_bytes  the largest per UTF-8 byte of the choice
    greedy     every token of the continuation is the most likely one at its place: LAMBADA's accuracy

Of equal ones the first counts, as with numpy's argmax.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.probe.evaluate.tasks_config import ChoiceMetric

METRICS: tuple[ChoiceMetric, ...] = ("acc", "acc_norm", "acc_bytes")


@dataclass(frozen=True)
class Likelihood:
    """Of one continuation after its context."""

    logprob: float
    """Sum over its tokens of ln p."""
    tokens: int
    is_greedy: bool


@dataclass(frozen=True)
class Verdict:
    """What a model chooses of one question, by each measure, as numbers from 0."""

    acc: int
    acc_norm: int
    acc_bytes: int


def choose(likelihoods: Sequence[Likelihood], choices: Sequence[str]) -> Verdict:
    """The choice that is most likely, by each measure.

    Args:
        likelihoods: of each choice.
        choices: their texts, without the space that stands before each in the prompt.

    Raises:
        DataError: an empty choice, which has no likelihood per character.
    """
    if not all(choices):
        raise DataError("a choice is empty", hint="every choice needs some text")

    def best(length: Callable[[str], int]) -> int:
        values = [one.logprob / length(text) for one, text in zip(likelihoods, choices, strict=True)]
        return values.index(max(values))

    return Verdict(
        acc=best(lambda text: 1),
        acc_norm=best(len),
        acc_bytes=best(lambda text: len(text.encode())),
    )
