"""Tensor and sequence parallelism: matrices cut by heads or columns, all between them cut by positions.

q, k, v, gate and up are cut by what comes out, o and down by what goes in (1909.08053), the head by the
vocabulary, whose logits stay where they are (`logit_parts.py`). The stream between them, its norms, routers
and experts have some positions of each row on every process (2205.05198): what a matrix reads is gathered
before it, and what it gives is shared out in the place of a sum that everybody gets. Where heads have keys
and values out of one latent (2405.04434), that is gathered and not the wider stream.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.attention import Attention
from llmkit.model.block import Block
from llmkit.model.here import here
from llmkit.model.latent_attention import LatentAttention
from llmkit.model.mlp import GatedMLP, PlainMLP
from llmkit.model.norm import RMSNorm
from llmkit.model.quantised.float8_linear import Float8Linear, Largest
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.collectives import all_reduce
from llmkit.train.parallel.logit_parts import LogitParts
from llmkit.train.parallel.parallel_linear import (
    all_positions,
    cut_inputs,
    cut_outputs,
    largest_of,
    own_positions,
)
from llmkit.train.parallel.ranks import Share
from llmkit.train.parallel.row_cut import part_of_stream
from llmkit.train.parallel.tensors import cut

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


class NormOverHeads(RMSNorm):
    """RMSNorm over the numbers of all heads, of which some are here.

    Attributes:
        group: who has the others.
    """

    group: "ProcessGroup"

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, W / P). Returns the same."""
        wide = x.float()
        share = wide.square().mean(-1, keepdim=True) / self.group.size()  # of the mean over all
        scale = (all_reduce(share, self.group) + self.eps).rsqrt()
        return (wide * scale * here(self.factor)).to(x.dtype)


def cut_matrices(model: Transformer, mesh: "DeviceMesh") -> None:
    """Keep this process's part of each matrix. Every process has the same model before.

    Parameters that stay whole learn from the positions here alone: their gradients are still to be summed.

    Args:
        model: changed in place; names stay.
        mesh: of one dimension.
    """
    for layer in model.model.layers:
        if isinstance(layer, Block):  # else it is another stage's
            _cut_layer(layer, mesh)
    decoder, group = model.model, mesh.get_group()
    of_positions = Largest(of_input=largest_of(group), of_gradient=largest_of(group))
    for module in decoder.layers.modules():
        if isinstance(module, Float8Linear):  # it is whole, but what it reads is a part
            module.largest = of_positions
    if isinstance(decoder.embed_tokens, nn.Embedding):
        embedding = decoder.embed_tokens
        embedding.weight = cut(embedding.weight, mesh)
        embedding.forward = partial(_look_up, embedding, group)  # type: ignore[method-assign]
    if decoder.embed_positions is not None:
        own = Share(mesh.get_local_rank(), mesh.size())
        decoder.embed_positions.register_forward_pre_hook(lambda _, given: (part_of_stream(given[0], own),))
    head = model.lm_head
    if isinstance(head, TiedHead):  # it reads the embedding, which is cut by the vocabulary already
        head.bias = None if head.bias is None else cut(head.bias, mesh)
    elif isinstance(head, nn.Linear):
        cut_outputs(head, mesh)
    else:
        return
    _gather_before(head, group)
    model.logit_parts = LogitParts(group)


def _cut_layer(layer: Block, mesh: "DeviceMesh") -> None:
    attention, mlp, group = layer.self_attn, layer.mlp, mesh.get_group()
    if isinstance(attention, Attention):
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            assert linear is not None  # `check_degrees` lets no model come here whose layers share them
            cut_outputs(linear, mesh)
        _gather_before(attention, group)
        if attention.sinks is not None:
            attention.sinks = cut(attention.sinks, mesh)
        for norm in (attention.q_norm, attention.k_norm) if attention.norm_over_heads else ():
            assert isinstance(norm, RMSNorm)  # `check_degrees` lets no other come here
            norm.weight = cut(norm.weight, mesh)
            norm.__class__ = NormOverHeads  # not a forward of its own, for which each layer compiles anew
            cast(NormOverHeads, norm).group = group
    elif isinstance(attention, LatentAttention):
        to_heads = attention.q_b_proj if attention.latent.q_lora_rank else attention.q_proj
        cut_outputs(to_heads, mesh)
        cut_outputs(attention.kv_b_proj, mesh)
        _gather_before(to_heads, group)
        attention.kv_a_proj_with_mqa.register_forward_hook(lambda *told: all_positions(told[-1], group))
    cut_inputs(attention.o_proj, mesh)
    if isinstance(mlp, GatedMLP | PlainMLP):
        for linear in (mlp.gate_proj, mlp.up_proj) if isinstance(mlp, GatedMLP) else (mlp.up_proj,):
            cut_outputs(linear, mesh)
        _gather_before(mlp, group)
        cut_inputs(mlp.down_proj, mesh)


def _gather_before(module: nn.Module, group: "ProcessGroup") -> None:
    """Let a module read all positions; its gradient is summed once, to where each came from."""

    def gather(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return all_positions(given[0], group), *given[1:]

    module.register_forward_pre_hook(gather, prepend=True)


def _look_up(embedding: nn.Embedding, group: "ProcessGroup", ids: Tensor) -> Tensor:
    """(B, T) to (B, T / P, D): each process gives the rows of its ids, and gets those of its positions."""
    weight = here(embedding.weight)
    own = ids - group.rank() * len(weight)
    is_own = (own >= 0) & (own < len(weight))
    rows = F.embedding(own.where(is_own, 0), weight).masked_fill(~is_own.unsqueeze(-1), 0.0)
    return own_positions(rows, group)
