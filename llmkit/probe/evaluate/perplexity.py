"""Perplexity of texts: sums of log-probabilities, and the figures that are made of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from llmkit.engine.request import Drawn
from llmkit.errors import DataError
from llmkit.formats.amount_text import plural
from llmkit.probe.evaluate.headline import Z95, Headline
from llmkit.probe.evaluate.intervals import Interval, ratio_error

ENOUGH_DOCUMENTS = 10
"""So many are clusters enough; of fewer the windows are."""


class TextSums(msgspec.Struct, kw_only=True):
    """One document, or one chunk of it."""

    index: int
    """Among the inputs, from 0."""
    id: str
    tokens: int
    """Read."""
    text_sha256: str = ""
    """Of the document: who compares two runs sees by it whether they read the same."""
    scored_tokens: int = 0
    bytes: int = 0
    """Of text behind the tokens that were scored."""
    nll: float = 0.0
    """Sum of -ln p."""
    nll_square: float = 0.0
    """Sum of its square."""
    windows: list[tuple[int, float]] = msgspec.field(default_factory=list)
    """Of each its scored tokens, and the sum of their -ln p."""

    def add(self, scored: Sequence[Drawn], byte_lengths: Iterable[int]) -> None:
        """Take in the scored tokens of a window, and the bytes behind each."""
        nll = [-one.score.logprob for one in scored if one.score is not None]
        self.scored_tokens += len(nll)
        self.bytes += sum(byte_lengths)
        self.nll += math.fsum(nll)
        self.nll_square += math.fsum(one * one for one in nll)
        self.windows.append((len(nll), math.fsum(nll)))

    def figures(self) -> dict[str, float | None]:
        """Its own perplexity and bits for a byte; None of what nothing was scored of."""
        count = self.scored_tokens
        return {
            "perplexity": math.exp(self.nll / count) if count else None,
            "nll_per_token": self.nll / count if count else None,
            "bits_per_byte": self.nll / math.log(2) / self.bytes if self.bytes else None,
        }


@dataclass(frozen=True)
class Perplexity:
    """The figures of all texts together. `nll` is in nats for a token."""

    records: int
    tokens: int
    scored_tokens: int
    bytes: int
    nll: float
    nll_error: float
    """As llama.cpp has it: of tokens taken as independent."""
    perplexity: float
    perplexity_error: float
    interval: Interval | None
    """Of perplexity, by clusters: wider than the errors of tokens where texts differ. Of one window by its
    tokens; None of one token."""
    nll_cluster_error: float | None
    """None of one window: how windows differ is not known."""
    bits_per_byte: float | None
    """None where the scored tokens stand for no text."""
    bits_per_token: float

    def headline(self) -> Headline:
        """The figure for gates."""
        return Headline(
            name="perplexity",
            value=self.perplexity,
            error=self.perplexity * max(self.nll_cluster_error or 0.0, self.nll_error),
            better="lower",
        )


def perplexity(texts: Sequence[TextSums], name: str = "the texts") -> Perplexity:
    """exp of the mean -ln p over every scored token of all texts.

    Args:
        texts: what was summed of each.
        name: of them, for errors.

    Raises:
        DataError: nothing was scored.
    """
    used = [text for text in texts if text.scored_tokens]
    count, size = sum(text.scored_tokens for text in used), sum(text.bytes for text in used)
    if not count:
        raise DataError(
            f"{name}: no token was scored (found {plural(len(texts), 'text')})",
            hint="a text needs two tokens or more",
        )
    total = math.fsum(text.nll for text in used)
    mean = total / count
    spread = max(0.0, math.fsum(text.nll_square for text in used) / count - mean * mean)
    token_error = math.sqrt(spread / (count - 1)) if count > 1 else 0.0
    if len(used) >= ENOUGH_DOCUMENTS:
        name, clusters = "records", [(text.scored_tokens, text.nll) for text in used]
    else:
        name, clusters = "windows", [window for text in used for window in text.windows]
    error, told = None, f"{plural(count, 'token')} taken as independent, as there is one window"
    if len(clusters) > 1:
        error = ratio_error([nll for _, nll in clusters], [tokens for tokens, _ in clusters])
        told = f"{len(clusters)} {name} as clusters"
    width = Z95 * (token_error if error is None else error)
    return Perplexity(
        records=len(texts),
        tokens=sum(text.tokens for text in texts),
        scored_tokens=count,
        bytes=size,
        nll=mean,
        nll_error=token_error,
        perplexity=math.exp(mean),
        perplexity_error=math.exp(mean) * token_error,
        interval=None
        if count == 1
        else Interval(
            low=math.exp(mean - width),
            high=math.exp(mean + width),
            method=f"1.96 standard errors of the mean -ln p, by {told}",
        ),
        nll_cluster_error=error,
        bits_per_byte=total / math.log(2) / size if size else None,
        bits_per_token=mean / math.log(2),
    )
