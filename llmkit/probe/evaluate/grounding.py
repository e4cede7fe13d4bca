"""How much a passage raises the probability of an answer: whether the model used what it was given.

An answer that is no likelier with the passage than without was not drawn from it: the model knew it, or made
it up.
"""

import math
from collections.abc import Sequence

import msgspec


class Grounding(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with and without a passage before it."""

    tokens: int
    """That were scored in both."""
    logprob_without: float
    """Of the answer, natural."""
    logprob_with: float
    gain_bits: float
    """log2 of how many times likelier the passage makes the answer; below 0: less likely."""
    gain_bits_per_token: float
    raised: int
    """Tokens that it made likelier."""


def grounding(without: Sequence[float | None], with_passage: Sequence[float | None]) -> Grounding:
    """Compare the log-probabilities of an answer's tokens.

    Args:
        without, with_passage: of each token; None where it was not scored, which leaves it out of both.

    Raises:
        ValueError: not as many, or none that is scored in both.
    """
    pairs = [(x, y) for x, y in zip(without, with_passage, strict=True) if x is not None and y is not None]
    if not pairs:
        raise ValueError("no token is scored in both")
    before, after = math.fsum(x for x, _ in pairs), math.fsum(y for _, y in pairs)
    gain = (after - before) / math.log(2)
    return Grounding(
        tokens=len(pairs),
        logprob_without=before,
        logprob_with=after,
        gain_bits=gain,
        gain_bits_per_token=gain / len(pairs),
        raised=sum(y > x for x, y in pairs),
    )
