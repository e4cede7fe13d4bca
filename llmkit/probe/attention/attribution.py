"""Direct logit attribution: which head put how much of a token's logit into the stream itself.

The stream before the last norm is a sum: the embedding, every head's output through o_proj, every MLP. With
each norm's scale held at what it is for the whole sum, norms and head are linear, so the logit is the sum of
what they make of the parts (Elhage et al. 2021; TransformerLens calls it `logit_attrs`). What a head does by
way of later layers is not in its part.

Shapes: L layers, H heads, E numbers of a head's output, D hidden_size.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.errors import UsageError
from llmkit.model.block import Block
from llmkit.model.norm import LayerNorm, RMSNorm
from llmkit.model.transformer import Transformer
from llmkit.probe.attention.ablate import Target, head_columns
from llmkit.probe.attention.residual import after, before, hooked


@dataclass(frozen=True)
class Attribution:
    """The parts of one logit; they add up to it."""

    target: Target
    logit: float
    """Before any soft-capping of logits: what comes after is no sum."""
    embedding: float
    """Of the token itself, and its position where that is added."""
    heads: tuple[tuple[float, ...], ...]
    """By layer and head."""
    attention_biases: tuple[float, ...]
    """By layer: what o_proj and the norm after it add whatever the heads say."""
    mlps: tuple[float, ...]
    """By layer."""
    bias: float
    """Of the last norm and the head."""
    capped_logit: float | None = None
    """The logit as the model tells it, soft-capped (Gemma 2); None where it caps none."""

    @property
    def total(self) -> float:
        """Of all parts."""
        heads = sum(sum(layer) for layer in self.heads)
        return self.embedding + heads + sum(self.attention_biases) + sum(self.mlps) + self.bias


@torch.no_grad()
def attribute_logit(model: Transformer, ids: Tensor, target: Target) -> Attribution:
    """Take one token's logit at one position apart.

    Args:
        model: in evaluation mode, without adapters beside its weights.
        ids: (T,) int64; what follows the position is not looked at.
        target: which token, and where.

    Raises:
        UsageError: layers keep a state, and have no heads to take apart.
    """
    if model.config.state_layers or model.config.lone_mlps:
        raise UsageError(
            f"{model.config.model_type} has layers that keep a state, which are not taken apart into heads",
            hint="--ablate takes out one head of attention at a time",
        )
    if model.config.layer_scalar:
        raise UsageError(
            f"{model.config.model_type} scales what each layer leaves, which is not taken apart into heads",
            hint="--ablate takes out one head of attention at a time",
        )
    seen = _run(model, ids[: target.position + 1])
    direction, head_bias = _direction(model, seen.final, target.id)
    norm = model.model.norm
    read, norm_bias = _frozen(norm, seen.final, direction)
    scale = model.config.residual_scale
    heads, biases, mlps = [], [], []
    for layer, mixed in zip(model.model.layers, seen.mixed, strict=True):
        assert isinstance(layer, Block)
        parts, bias = _head_parts(layer, mixed, model.config.num_attention_heads)
        attended = parts.sum(0) + bias
        own_norm = layer.post_attention_layernorm if layer.placement != "before" else None
        if own_norm is None:
            heads.append(tuple(float(part @ read) * scale for part in parts))
            biases.append(float(bias @ read) * scale)
        else:
            inner, inner_bias = _frozen(own_norm, attended, read)
            heads.append(tuple(float(part @ inner) * scale for part in parts))
            biases.append((float(bias @ inner) + inner_bias) * scale)
    for fed in seen.fed:
        mlps.append(float(fed.double() @ read) * scale)
    logit = float(model.lm_head(norm(seen.final))[target.id]) * model.config.logit_scale
    cap = model.config.final_logit_softcapping
    return Attribution(
        target=target,
        logit=logit,
        embedding=float(seen.embedded.double() @ read),
        heads=tuple(heads),
        attention_biases=tuple(biases),
        mlps=tuple(mlps),
        bias=norm_bias + head_bias,
        capped_logit=None if cap is None else math.tanh(logit / cap) * cap,
    )


@dataclass
class _Seen:
    """At the last position: what goes into the stream, and what the last norm reads."""

    embedded: Tensor
    mixed: list[Tensor]
    """(H E,) a layer: what o_proj reads."""
    fed: list[Tensor]
    """(D,) a layer: what the MLP adds, after its norm."""
    final: Tensor


def _run(model: Transformer, ids: Tensor) -> _Seen:
    inputs: list[Tensor] = []
    mixed: list[Tensor] = []
    fed: list[Tensor] = []
    handles = [
        before(model.model.layers[0], lambda x: inputs.append(x[0, -1])),
        before(model.model.norm, lambda x: inputs.append(x[0, -1])),
    ]
    for layer in model.model.layers:
        assert isinstance(layer, Block)
        handles.append(before(layer.get_submodule("self_attn.o_proj"), lambda x: mixed.append(x[0, -1])))
        last = layer.mlp if layer.placement == "before" else layer.post_feedforward_layernorm
        handles.append(after(last, lambda x: fed.append(x[0, -1])))
    with hooked(handles):
        model.hidden(ids[None])
    embedded, final = inputs
    return _Seen(embedded, mixed, fed, final)


def _head_parts(layer: Block, mixed: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(H, D) what each head's output becomes, and (D,) what o_proj adds to their sum; float64."""
    alone = mixed.new_zeros(heads + 1, mixed.shape[0])
    for head in range(heads):
        columns = head_columns(mixed.shape[0], heads, head)
        alone[head, columns] = mixed[columns]
    made = layer.self_attn.o_proj(alone).double()
    return made[:-1] - made[-1], made[-1]


def _direction(model: Transformer, final: Tensor, token: int) -> tuple[Tensor, float]:
    """What the token's logit takes of each number that the head reads, (D,) float64, and what it adds.

    By the gradient: the head may be a matrix, a tied embedding, or codes.
    """
    with torch.enable_grad():
        reads = model.model.norm(final).detach().requires_grad_()
        logit = model.lm_head(reads)[token] * model.config.logit_scale
        (direction,) = torch.autograd.grad(logit, reads)
    direction = direction.double()
    return direction, float(logit.detach()) - float(direction @ reads.detach().double())


def _frozen(norm: nn.Module, reads: Tensor, direction: Tensor) -> tuple[Tensor, float]:
    """A direction behind a norm as one before it, with the norm's scale held at what `reads` gives.

    Returns:
        (D,) float64, and what the norm's bias adds.
    """
    reads = reads.double()
    if isinstance(norm, RMSNorm):
        scale = (reads.square().mean() + norm.eps).rsqrt()
        return direction * norm.factor.double() * scale, 0.0
    assert isinstance(norm, LayerNorm)
    scale = (reads.var(correction=0) + norm.eps).rsqrt()
    weighed = direction * norm.factor.double() * scale
    bias = 0.0 if norm.bias is None else float(direction @ norm.bias.double())
    return weighed - weighed.mean(), bias  # the mean is taken off what the norm reads: off either side
