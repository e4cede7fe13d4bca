"""How sure a model was: of an answer as a whole, and where in a text it was not."""

import math
from collections.abc import Sequence

import msgspec

from llmkit.probe.evaluate.calibration import at_temperature
from llmkit.probe.evaluate.config import Confidence


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in a row that the model was not sure of."""

    start: int
    """Place of the first, and of the one after the last, in the list of tokens."""
    end: int
    text: str
    confidence: float
    """Of its tokens, the geometric mean."""


def answer_confidence(logprobs: Sequence[float], kind: Confidence) -> float:
    """Confidence in an answer from the log-probabilities of its tokens.

    mean: their geometric mean; min: the least; product: of all, which is that of the answer as it stands.

    Raises:
        ValueError: of nothing.
    """
    if not logprobs:
        raise ValueError("an answer without tokens")
    if kind == "min":
        return math.exp(min(logprobs))
    total = math.fsum(logprobs)
    return math.exp(total if kind == "product" else total / len(logprobs))


def unsure_spans(
    logprobs: Sequence[float | None], texts: Sequence[str], threshold: float, temperature: float = 1.0
) -> list[Span]:
    """Runs of tokens whose confidence is below a threshold.

    Args:
        logprobs: of each token; None of one that was not scored, which ends a run.
        texts: of each token.
        threshold: 0 to 1.
        temperature: of a calibration: what a probability's log odds are divided by.
    """
    spans: list[Span] = []
    start = 0
    for place in range(len(logprobs) + 1):
        logprob = logprobs[place] if place < len(logprobs) else None
        if logprob is not None and at_temperature(math.exp(logprob), temperature) < threshold:
            continue
        run = [one for one in logprobs[start:place] if one is not None]
        if run:
            spans.append(
                Span(
                    start=start,
                    end=place,
                    text="".join(texts[start:place]),
                    confidence=at_temperature(math.exp(math.fsum(run) / len(run)), temperature),
                )
            )
        start = place + 1
    return spans
