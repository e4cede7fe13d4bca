"""The likelihood of each of several continuations, by the engine that serves the model.

What the continuations have before them is read once: the engine finds it in its cache.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import UsageError
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
        UsageError: a continuation alone is longer than the context, or has no token.
        DataError: see `Scorer.score`.
    """
    waiting: list[Asked] = []

    def requests() -> Iterator[Request]:
        for question in questions:
            waiting.append(question)
            for ids, begin in question.pairs:
                if begin >= len(ids) or len(ids) - begin >= scorer.context:
                    raise UsageError(
                        f"a continuation of {len(ids) - begin} tokens, and a context of {scorer.context:,}",
                        hint="leave out that question",
                    )
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
