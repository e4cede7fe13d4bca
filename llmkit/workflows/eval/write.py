"""Texts of a model under evaluation: as many at once as the engine takes, in the order of their prompts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import FinishReason
from llmkit.workflows.eval.scorer import Scorer


@dataclass(frozen=True)
class Written:
    """One text."""

    text: str
    tokens: int
    finish: FinishReason


def write_texts(scorer: Scorer, prompts: Iterable[tuple[Sequence[int], SamplingConfig]]) -> Iterator[Written]:
    """A text for each prompt, in order.

    Args:
        scorer: whose engine writes them.
        prompts: ids, and how to draw; read as there is room for more.

    Raises:
        UsageError, DataError, ResourceError: see `Engine.submit`.
    """
    requests = (scorer.request(ids, sampling) for ids, sampling in prompts)
    for piece in scorer.complete(requests, scorer.tokenizer):
        if (done := piece.completion) is not None:
            yield Written(done.text or "", len(done.drawn), done.finish)
