"""Ranking passages again by a model: one that was made to judge them, or any, by how probable they make the
query.

Source: Sachan et al., Improving Passage Retrieval with Zero-Shot Question Generation, 2022.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from llmkit.errors import DataError
from llmkit.model.relevance import read_relevance
from llmkit.model.source import check_model
from llmkit.retrieve.hits import Hit
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer

MOST_TOKENS = 4096
"""Of passage and query together: the cache is made for them, not for the longest context."""
_BEFORE = "Passage: "
_BETWEEN = "\n\nQuestion:"


class Reranker(Protocol):
    """What ranks passages again."""

    def rank(self, query: str, found: Sequence[Hit], /) -> list[Hit]:
        """The same passages, each with the score by which it comes, the best first.

        Raises:
            DataError: the query leaves no room for a passage.
        """


class LikelihoodReranker:
    """Any model; a score is the mean log probability of a query's tokens behind a passage, in nats."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._between = scorer.encoder.encode(_BETWEEN, special=False)

    def rank(self, query: str, found: Sequence[Hit]) -> list[Hit]:
        """The same passages, the best first; of equal ones the one that was first.

        A passage that does not fit into the model's context, or into MOST_TOKENS, is cut at its end.

        Raises:
            DataError: the query leaves no room for a passage.
        """
        asked = self._scorer.encoder.encode(" " + query, special=False)
        if not found or not asked:
            return list(found)
        room = self._scorer.longest - len(self._between) - len(asked)
        if room < 1:
            raise DataError(
                f"a query of {len(asked):,} tokens, and the model {self._scorer.name} reads "
                f"{self._scorer.longest:,} at once",
                hint="leave --rerank out, or name a model with a longer context",
            )
        texts = [self._before(one)[:room] for one in found]
        before = ([*text, *self._between] for text in texts)
        scores = self._scorer.score(([*ids, *asked], len(ids)) for ids in before)
        ranked = []
        for one, drawn in zip(found, scores, strict=True):
            score = _mean([token.score.logprob for token in drawn if token.score])
            ranked.append(msgspec.structs.replace(one, score=score))
        return sorted(ranked, key=lambda one: -one.score)

    def _before(self, passage: Hit) -> list[int]:
        heading = f"{passage.heading}\n" if passage.heading else ""
        return self._scorer.encoder.encode(f"{_BEFORE}{heading}{passage.text}")


def open_reranker(model: Path, device: str) -> Reranker:
    """Open a model to rank passages with. The weights of one that was not made for it are read when the first
    query comes.

    Raises:
        MissingError, ConfigError, DataError: see `open_scorer` and `read_relevance`.
    """
    check_model(model)
    relevance = read_relevance(model)
    if relevance is not None:
        from llmkit.workflows.retrieve.judge import Judge  # torch

        return Judge(model, device, relevance)
    return LikelihoodReranker(open_scorer(ModelOptions(model=model, device=device), longest=MOST_TOKENS))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
