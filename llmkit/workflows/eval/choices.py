"""The likelihood of each of several continuations, by the engine that serves the model.

What the continuations have before them is read once: the engine finds it in its cache.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import DataError
from llmkit.probe.evaluate.choice import Likelihood
from llmkit.workflows.eval.scorer import Scorer

_SAMPLING = SamplingConfig(max_tokens=1, temperature=0.0, logprobs=0)


@dataclass(frozen=True)
class Asked:
    """One question: for each continuation the ids of all, and where the continuation begins."""

    pairs: Sequence[tuple[Sequence[int], int]]


@dataclass(frozen=True)
class Answered:
    """What the model thinks of one question."""

    choices: tuple[Likelihood, ...]
    truncated: bool
    """Whether the beginning was cut off to fit into the context."""


def likelihoods(scorer: Scorer, questions: Iterable[Asked]) -> Iterator[Answered]:
    """Score every continuation, question by question, in order.

    A text too long for the context loses its beginning, as in lm-evaluation-harness, which however keeps a
    token more: it never feeds the last one.

    Raises:
        DataError: see `check_room` and `Scorer.score`.
    """
    waiting: list[Asked] = []

    def requests() -> Iterator[Request]:
        for question in questions:
            waiting.append(question)
            for ids, begin in question.pairs:
                check_room(ids, begin, scorer.context)
                kept = ids[-scorer.context :]
                first = begin - (len(ids) - len(kept))
                yield replace(scorer.request(kept, _SAMPLING), scores_prompt="only", scores_from=first)

    scored = scorer.run(requests())
    for first in scored:
        question = waiting.pop(0)
        rows = [first, *(next(scored) for _ in question.pairs[1:])]
        found = []
        for drawn in rows:
            logprob = math.fsum(one.score.logprob for one in drawn if one.score is not None)
            found.append(Likelihood(logprob, len(drawn), all(one.rank == 1 for one in drawn)))
        yield Answered(tuple(found), any(len(ids) > scorer.context for ids, _ in question.pairs))


def check_room(ids: Sequence[int], begin: int, context: int) -> None:
    """Refuse a continuation that alone fills the context, or has no token.

    Args:
        ids: of all.
        begin: where the continuation begins.
        context: positions that the model has.

    Raises:
        DataError: it is one.
    """
    tokens = len(ids) - begin
    if not 0 < tokens < context:
        raise DataError(
            f"an answer of {tokens:,} tokens, and a context of {context:,}",
            hint="leave out that question, or take a model with a longer context",
        )
