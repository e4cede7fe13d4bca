"""How far a model has moved from the one it was made of, over a text: KL divergence, perplexity, choices.

The definitions are those of llama.cpp's `llama-perplexity --kl-divergence` (tools/perplexity), so that
figures can stand beside its own. Two differences, both of them errors it makes and this does not: its
reference is kept in 16 bits, and tokens that the reference gives less than e^-16 are left out of its sums.

Shapes: N positions, T positions of a row, V vocabulary.
"""

import math

import msgspec
import torch
from torch import Tensor

from llmkit.errors import DataError

PERCENTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
_FEW = 10
"""Up to so many positions nothing is said of errors."""
_PIECE_VALUES = 1 << 19
"""Logits at a time in float64: 4 MiB for each number worked out."""


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """A model against the original, over the scored positions of a text.

    Errors (`_error`) are standard errors of the mean; 0 over ten positions or fewer (of same_top over one).
    """

    positions: int
    """Scored."""
    kld: float
    """Mean of Σ p ln(p / q) over the vocabulary, p the original's and q the model's, in nats."""
    kld_error: float
    kld_percentiles: dict[str, float]
    """Of positions, by "99.9" … "0.1"."""
    kld_max: float
    kld_min: float
    delta_p: float
    """Mean of what the probability of the text's own token has changed by: 0.01 is one percent point."""
    delta_p_error: float
    delta_p_rms: float
    """Its root mean square."""
    delta_p_rms_error: float
    delta_p_percentiles: dict[str, float]
    same_top: float
    """Share of positions where both hold the same token most probable."""
    same_top_error: float
    perplexity_base: float
    """Of the original."""
    perplexity_base_error: float
    perplexity: float
    perplexity_error: float
    log_ratio: float
    """ln(perplexity / perplexity_base)."""
    log_ratio_error: float
    """Both are of one text: what their errors have in common is taken off."""
    ratio: float
    """perplexity / perplexity_base."""
    ratio_error: float
    correlation: float | None
    """Of the two logarithms; None where one of them does not vary."""
    bits_per_token_base: float
    bits_per_token: float
    """Cross-entropy of the text."""


def scored_positions(count: int, *, whole: bool = False) -> slice:
    """Which positions of a row of text are scored by what they say of their next token.

    Args:
        count: T, positions of the row.
        whole: all that have a next token; else those of the second half, as llama.cpp has it for rows of
            512: each has at least T / 2 positions before it.

    Raises:
        DataError: no position would be left.
    """
    first = 0 if whole else count // 2
    if first >= count - 1:
        raise DataError(f"rows of {count} tokens have no position to score", hint="score longer rows")
    return slice(first, count - 1)


class Divergence:
    """Adds up positions; a few numbers of each are kept."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def add(self, base_logits: Tensor, logits: Tensor, next_ids: Tensor) -> None:
        """Take in positions.

        Args:
            base_logits: (N, V) of the original.
            logits: (N, V) of the model.
            next_ids: (N,) int64, the token of the text that follows each position.

        Raises:
            DataError: a logit is not finite.
        """
        step = max(1, _PIECE_VALUES // base_logits.shape[-1])
        pieces = zip(base_logits.split(step), logits.split(step), next_ids.split(step), strict=True)
        self._parts += [_positions(*piece) for piece in pieces]

    def add_table(self, table: Tensor) -> None:
        """Take in positions as `table` gave them."""
        self._parts.append(table)

    def table(self) -> Tensor:
        """(5, N) float64 of the positions: KL divergence, -ln p and -ln q of the next token, q - p, and 1
        where the choice is the same.

        Raises:
            DataError: nothing was taken in.
        """
        if not self.positions:
            raise DataError("no position was scored", hint="score some text")
        return torch.cat(self._parts, dim=1)

    @property
    def positions(self) -> int:
        """Taken in so far."""
        return sum(part.shape[1] for part in self._parts)

    def mean(self) -> tuple[float, float]:
        """Mean KL divergence and its error.

        Raises:
            DataError: nothing was taken in.
        """
        return _mean(self.table()[0])

    def report(self) -> QualityReport:
        """Everything, over all positions.

        Raises:
            DataError: nothing was taken in.
        """
        kld, nll_base, nll, delta, same = self.table()
        count = len(kld)
        base, base_error = _mean(nll_base)
        own, own_error = _mean(nll)
        _, ratio_error = _mean(nll - nll_base)  # the variance of a difference has the covariance in it
        square, square_error = _mean(delta.square())
        rms = math.sqrt(square)
        top = float(same.mean())
        sorted_kld, sorted_delta = kld.sort().values, delta.sort().values
        mean_kld, mean_delta = _mean(kld), _mean(delta)
        return QualityReport(
            positions=count,
            kld=mean_kld[0],
            kld_error=mean_kld[1],
            kld_percentiles=_percentiles(sorted_kld),
            kld_max=float(sorted_kld[-1]),
            kld_min=float(sorted_kld[0]),
            delta_p=mean_delta[0],
            delta_p_error=mean_delta[1],
            delta_p_rms=rms,
            delta_p_rms_error=0.5 / rms * square_error if rms else 0.0,
            delta_p_percentiles=_percentiles(sorted_delta),
            same_top=top,
            same_top_error=math.sqrt(top * (1 - top) / (count - 1)) if count > 1 else 0.0,
            perplexity_base=math.exp(base),
            perplexity_base_error=math.exp(base) * base_error,
            perplexity=math.exp(own),
            perplexity_error=math.exp(own) * own_error,
            log_ratio=own - base,
            log_ratio_error=ratio_error,
            ratio=math.exp(own - base),
            ratio_error=math.exp(own - base) * ratio_error,
            correlation=_correlation(nll, nll_base),
            bits_per_token_base=base / math.log(2),
            bits_per_token=own / math.log(2),
        )


def _positions(base_logits: Tensor, logits: Tensor, next_ids: Tensor) -> Tensor:
    """Of each: KL divergence, -ln p and -ln q of the next token, q - p, whether the choice is the same.

    Returns:
        (5, N) float64.
    """
    base, own = base_logits.double().log_softmax(-1), logits.double().log_softmax(-1)
    kld = (base.exp() * (base - own)).sum(-1)
    if not kld.isfinite().all():
        raise DataError("a logit is not a finite number", hint="llmkit doctor MODEL names the tensors")
    at = next_ids[:, None]
    nll_base, nll = -base.gather(1, at)[:, 0], -own.gather(1, at)[:, 0]
    same = (base_logits.argmax(-1) == logits.argmax(-1)).double()
    return torch.stack((kld, nll_base, nll, (-nll).exp() - (-nll_base).exp(), same))


def _mean(values: Tensor) -> tuple[float, float]:
    """Mean, and its standard error."""
    mean, count = float(values.mean()), len(values)
    spread = float((values - mean).square().mean())
    return mean, math.sqrt(spread / (count - 1)) if count > _FEW else 0.0


def _correlation(values: Tensor, others: Tensor) -> float | None:
    values, others = values - values.mean(), others - others.mean()
    scale = float(values.square().sum() * others.square().sum())
    return float(values @ others) / math.sqrt(scale) if scale else None


def _percentiles(ascending: Tensor) -> dict[str, float]:
    """Between the two nearest values, in proportion."""
    found = {}
    for percent in PERCENTILES:
        place = percent / 100 * (len(ascending) - 1)
        low = math.floor(place)
        part = place - low
        high = min(low + 1, len(ascending) - 1)
        found[f"{percent:g}"] = float((1 - part) * ascending[low] + part * ascending[high])
    return found
