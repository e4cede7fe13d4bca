"""The logit lens: what a model would say if it stopped after each layer.

Each layer's residual stream goes through the last norm and the head as if it were the last one's
(nostalgebraist 2020). The last row is the model's own answer.

Shapes: T positions, L layers, D hidden_size, V vocab_size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.probe.attention.residual import check_token, residual_stream, text_positions


@dataclass(frozen=True)
class LensLayer:
    """What would be said after so many layers."""

    layers: int
    """0: straight from the embeddings."""
    rank: int
    """Of the answer; 1 is the most probable."""
    probability: float
    """Of the answer."""
    kl: float
    """Σ p ln(p / q) over the vocabulary, p of the whole model and q after these layers, in nats."""
    top: int
    """Id of the most probable token."""
    top_probability: float


@dataclass(frozen=True)
class LensReading:
    """One position through all layers."""

    position: int
    answer: int
    """The token that ranks and probabilities are of."""
    layers: tuple[LensLayer, ...]
    """L + 1 of them."""

    @property
    def first_final(self) -> int:
        """After how many layers the most probable token is, for the first time, the whole model's."""
        return next(one.layers for one in self.layers if one.top == self.layers[-1].top)

    @property
    def settled(self) -> int:
        """After how many layers it is that and stays so."""
        final = self.layers[-1].top
        others = [one.layers for one in self.layers if one.top != final]
        return others[-1] + 1 if others else 0


@torch.no_grad()
def logit_lens(
    model: Transformer, ids: Tensor, positions: Sequence[int] = (-1,), *, answer: int | None = None
) -> list[LensReading]:
    """Read positions through all layers.

    Args:
        model: in evaluation mode.
        ids: (T,) int64.
        positions: which; negative ones count from the end.
        answer: whose rank and probability to follow; None: the whole model's most probable token.

    Raises:
        UsageError: a position that the text does not have, or a token that the vocabulary does not have.
    """
    if answer is not None:
        check_token(answer, model.config.vocab_size)
    stream = residual_stream(model, ids, positions)
    places = text_positions(positions, len(ids))
    return [_reading(model, stream[:, index], place, answer) for index, place in enumerate(places)]


def _reading(model: Transformer, stream: Tensor, place: int, answer: int | None) -> LensReading:
    """stream: (L + 1, D)."""
    log_probs = model.logits(model.model.norm(stream)).double().log_softmax(-1)  # (L + 1, V)
    final = log_probs[-1]
    follow = int(final.argmax()) if answer is None else answer
    own = log_probs[:, follow]
    ranks = (log_probs > own[:, None]).sum(-1) + 1
    kl = (final.exp() * (final - log_probs)).sum(-1)
    tops = log_probs.max(-1)
    rows = zip(ranks, own.exp(), kl, tops.indices, tops.values.exp(), strict=True)
    return LensReading(
        place,
        follow,
        tuple(
            LensLayer(
                number, int(rank), float(probability), float(distance), int(top), float(top_probability)
            )
            for number, (rank, probability, distance, top, top_probability) in enumerate(rows)
        ),
    )
