"""What a model loses with one head taken out: loss, predictions, one token's logit.

A head's output enters the layer as its E columns of what o_proj reads. They become zero, or the mean over the
text's positions, which takes away what the head says here and keeps what it always says.

Shapes: T positions, H heads, E numbers of a head's output, D hidden_size, V vocab_size.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.formats.amount_text import plural
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.attention.capture import check_attends
from llmkit.probe.attention.config import AblateBy
from llmkit.probe.attention.residual import before, check_token, hooked, text_positions

_PIECE_VALUES = 1 << 21
"""Logits at a time in float64: 16 MiB for each number worked out."""


@dataclass(frozen=True)
class Ablation:
    """A model without one head against the whole model, on one text."""

    layer: int
    head: int
    loss_change: float | None
    """Of the mean cross-entropy over the positions that have a next token, in nats; None with one token."""
    kl: float
    """Mean over all positions of Σ p ln(p / q), p of the whole model and q without the head, in nats."""
    logit_change: float
    """Of the target's logit at its position."""
    probability_change: float
    """Of the target's probability there."""


@dataclass(frozen=True)
class Target:
    """The token whose logit is watched."""

    position: int
    id: int


@torch.no_grad()
def target_of(model: Transformer, ids: Tensor, position: int = -1, token: int | None = None) -> Target:
    """What to watch at a position: a token, else the text's next one, else the model's most probable one.

    Args:
        model: in evaluation mode.
        ids: (T,) int64.
        position: negative ones count from the end.
        token: an id.

    Raises:
        UsageError: a position that the text does not have, or a token that the vocabulary does not have.
    """
    (place,) = text_positions((position,), len(ids))
    if token is not None:
        check_token(token, model.config.vocab_size)
    elif place < len(ids) - 1:
        token = int(ids[place + 1])
    if token is None:
        token = int(model.logits(model.hidden(ids[None])[0, place]).argmax())
    return Target(place, token)


@torch.no_grad()
def ablate_heads(
    model: Transformer,
    ids: Tensor,
    heads: Iterable[tuple[int, int]],
    target: Target,
    *,
    by: AblateBy = "zero",
) -> Iterator[Ablation]:
    """Take heads out, one at a time; one pass over the text for each.

    Args:
        model: in evaluation mode.
        ids: (T,) int64.
        heads: layer and head of each.
        target: whose logit to watch.
        by: what stands in the head's place.

    Raises:
        UsageError: a head that the model does not have.
    """
    whole = model.hidden(ids[None])[0]  # (T, D)
    for layer, head in heads:
        yield _compare(model, ids, whole, without_head(model, ids, layer, head, by=by), layer, head, target)


@torch.no_grad()
def without_head(model: Transformer, ids: Tensor, layer: int, head: int, *, by: AblateBy = "zero") -> Tensor:
    """What the model's head reads when one attention head is taken out: (T, D), after the last norm.

    Raises:
        UsageError: a head that the model does not have.
    """
    heads = model.config.num_attention_heads
    check_head(layer, head, model.config)

    def replace(mixed: Tensor) -> Tensor:  # (1, T, H E), what each head takes home, side by side
        columns = head_columns(mixed.shape[-1], heads, head)
        changed = mixed.clone()
        changed[..., columns] = 0.0 if by == "zero" else mixed[..., columns].mean(dim=1, keepdim=True)
        return changed

    with hooked([before(model.get_submodule(f"model.layers.{layer}.self_attn.o_proj"), replace)]):
        return model.hidden(ids[None])[0]


def head_columns(width: int, heads: int, head: int) -> slice:
    """Where one head's output stands among `width` numbers."""
    each = width // heads
    return slice(head * each, (head + 1) * each)


def check_head(layer: int, head: int, config: ModelConfig) -> None:
    """Refuse a head that the model does not have.

    Raises:
        UsageError: no such layer or head, or a layer without attention.
    """
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if not (0 <= layer < layers and 0 <= head < heads):
        raise UsageError(
            f"there is no head {layer}.{head} (found {plural(layers, 'layer')} of {plural(heads, 'head')})",
            hint=f"0.0 to {layers - 1}.{heads - 1}",
        )
    check_attends(layer, config)


def _compare(
    model: Transformer, ids: Tensor, whole: Tensor, changed: Tensor, layer: int, head: int, target: Target
) -> Ablation:
    step = max(1, _PIECE_VALUES // model.config.vocab_size)
    T = len(ids)
    kl = loss = 0.0
    for at in range(0, T, step):
        part = slice(at, min(at + step, T))
        p = model.logits(whole[part]).double().log_softmax(-1)
        q = model.logits(changed[part]).double().log_softmax(-1)
        kl += float((p.exp() * (p - q)).sum())
        following = ids[at + 1 : part.stop + 1, None]  # one fewer in the last part
        n = len(following)
        loss += float((p[:n].gather(1, following) - q[:n].gather(1, following)).sum())
    rows = torch.stack((whole[target.position], changed[target.position]))
    scores = model.logits(rows).double()
    chances = scores.softmax(-1)
    return Ablation(
        layer=layer,
        head=head,
        loss_change=loss / (T - 1) if T > 1 else None,
        kl=max(0.0, kl / T) if math.isfinite(kl) else kl,
        logit_change=float(scores[1, target.id] - scores[0, target.id]),
        probability_change=float(chances[1, target.id] - chances[0, target.id]),
    )
