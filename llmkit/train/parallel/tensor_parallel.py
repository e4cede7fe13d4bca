"""Tensor and sequence parallelism: matrices cut by heads or columns, all between them cut by positions.

q, k, v, gate and up are cut by what comes out, o and down by what goes in (1909.08053), as DTensors; the head
by the vocabulary, whose logits stay where they are (`logit_parts.py`). The stream between them, its norms,
routers and experts have some positions of each row on every process (2205.05198): what a matrix reads is
gathered before it, and what it gives is shared out in the place of a sum that everybody gets. Where heads
have keys and values out of one latent (2405.04434), that is gathered and not the wider stream.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn import functional as F

from llmkit.model.attention import Attention
from llmkit.model.block import Block
from llmkit.model.dtypes import computed_dtype
from llmkit.model.here import here
from llmkit.model.latent_attention import LatentAttention
from llmkit.model.mlp import GatedMLP, PlainMLP
from llmkit.model.norm import RMSNorm
from llmkit.model.quantised.float8_linear import Float8Linear, Widen, float8_linear
from llmkit.model.transformer import TiedHead, Transformer
from llmkit.train.parallel.logit_parts import LogitParts
from llmkit.train.parallel.ranks import Share
from llmkit.train.parallel.row_cut import part_of_stream

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

_POSITIONS = 1  # the dimension of positions in (B, T, D)


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
    decoder = model.model
    if isinstance(decoder.embed_tokens, nn.Embedding):
        embedding = decoder.embed_tokens
        embedding.weight = _cut_first(embedding.weight, mesh)
        embedding.forward = partial(_look_up, embedding, mesh)  # type: ignore[method-assign]
    if decoder.embed_positions is not None:
        own = Share(mesh.get_local_rank(), mesh.size())
        decoder.embed_positions.register_forward_pre_hook(lambda _, given: (part_of_stream(given[0], own),))
    head = model.lm_head
    if isinstance(head, TiedHead):  # it reads the embedding, which is cut by the vocabulary already
        if head.bias is not None:
            head.bias = _cut_first(head.bias, mesh)
        head.register_forward_hook(lambda *told: told[-1].to_local())
    elif isinstance(head, nn.Linear):
        parallelize_module(head, mesh, ColwiseParallel(), src_data_rank=None)
    else:
        return
    _gather_before(head, mesh)
    model.logit_parts = LogitParts(mesh.get_group())


def _cut_layer(layer: Block, mesh: "DeviceMesh") -> None:
    attention, mlp = layer.self_attn, layer.mlp
    gives = RowwiseParallel(output_layouts=Shard(_POSITIONS))
    if isinstance(attention, Attention):
        plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in ("q_proj", "k_proj", "v_proj")}
        cut_products(attention, plan | {"o_proj": gives}, mesh)
        _gather_before(attention, mesh)
        if attention.sinks is not None:
            attention.sinks = _cut_first(attention.sinks, mesh)
        for norm in (attention.q_norm, attention.k_norm) if attention.norm_over_heads else ():
            assert isinstance(norm, RMSNorm)  # `check_degrees` lets no other come here
            norm.weight = _cut_first(norm.weight, mesh)
            norm.forward = partial(_norm_over_heads, norm, mesh)  # type: ignore[method-assign]
    elif isinstance(attention, LatentAttention):
        to_heads = "q_b_proj" if attention.latent.q_lora_rank else "q_proj"
        cut_products(attention, {to_heads: ColwiseParallel(), "o_proj": gives}, mesh)
        _gather_before(getattr(attention, to_heads), mesh)
        rows, from_rows = attention.kv_a_proj_with_mqa, attention.kv_b_proj
        rows.register_forward_hook(
            lambda *told: _gathered(told[-1], mesh).to_local(grad_placements=[Partial()])
        )
        from_rows.weight = _cut_first(from_rows.weight, mesh)
        from_rows.forward = partial(_own_heads, from_rows)  # type: ignore[method-assign]
    if isinstance(mlp, GatedMLP | PlainMLP):
        plan = {name: ColwiseParallel() for name in ("gate_proj", "up_proj") if hasattr(mlp, name)}
        cut_products(mlp, plan | {"down_proj": gives}, mesh)
        _gather_before(mlp, mesh)


def cut_products(module: nn.Module, plan: dict[str, ParallelStyle], mesh: "DeviceMesh") -> None:
    """Cut matrices of a module, by what comes out or by what goes in; those of float8 stay of float8.

    Args:
        module: changed in place.
        plan: how each is cut, by its name there; one of float8 that is cut by what goes in has no bias.
        mesh: of one dimension.
    """
    parallelize_module(module, mesh, plan, src_data_rank=None)
    for name, style in plan.items():
        linear = getattr(module, name)
        if isinstance(linear, Float8Linear):
            linear.__class__ = Float8Part
            part = cast(Float8Part, linear)
            part.gives_summands = isinstance(style, RowwiseParallel)
            part.widen = _widen_of(mesh.get_group())


class Float8Part(Float8Linear):
    """What is here of a Float8Linear, which multiplies by the scales of whole tensors: DTensor has none.

    Attributes:
        gives_summands: whether it is cut by what goes in, and has no bias; else by what comes out.
        widen: see `float8_linear`.
    """

    gives_summands: bool
    widen: Widen

    def forward(self, input: Tensor) -> Tensor:
        """Of DTensors: an input that is whole, or cut as the matrix is, to columns, or to summands."""
        assert isinstance(input, DTensor)
        # of a whole input each process finds a summand of the gradient
        own = input.to_local(grad_placements=None if self.gives_summands else [Partial()])
        y = float8_linear(own, [here(self.weight)], here(self.bias), widen=self.widen)
        gives = Partial() if self.gives_summands else Shard(-1)
        return DTensor.from_local(y, input.device_mesh, [gives], run_check=False)


@cache
def _widen_of(group: "ProcessGroup") -> Widen:
    """Makes the largest number of a part that of all: one for all layers, so that they compile as one."""
    return partial(_largest, group)


def _largest(group: "ProcessGroup", most: Tensor) -> Tensor:
    most = most.clone()
    all_reduce(most, ReduceOp.MAX, group=group)
    return most


def _gather_before(module: nn.Module, mesh: "DeviceMesh") -> None:
    """Let a module read all positions; its gradient is summed once, to where each came from.

    They travel in the dtype of the products that read them.
    """

    def gather(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return _gathered(given[0], mesh), *given[1:]

    module.register_forward_pre_hook(gather, prepend=True)


def _gathered(x: Tensor, mesh: "DeviceMesh") -> DTensor:
    """(B, T / P, W) to (B, T, W)."""
    part = DTensor.from_local(x.to(computed_dtype(x)), mesh, [Shard(_POSITIONS)], run_check=False)
    return part.redistribute(placements=[Replicate()])


def _own_heads(linear: nn.Linear, x: Tensor) -> Tensor:
    """What the heads here make of latents, (B, T, C). DTensor would sum the gradient of x, as of a whole."""
    return F.linear(x, here(linear.weight))


def _norm_over_heads(norm: RMSNorm, mesh: "DeviceMesh", x: Tensor) -> Tensor:
    """RMSNorm over the numbers of all heads: (B, T, W / P), of these, to the same."""
    wide = x.float()
    share = wide.square().mean(-1, keepdim=True) / mesh.size()  # of the mean over all
    shares = DTensor.from_local(share, mesh, [Partial()], run_check=False)
    mean = shares.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
    scale = (mean + norm.eps).rsqrt()
    return (wide * scale * here(norm.factor)).to(x.dtype)


def _cut_first(whole: Tensor, mesh: "DeviceMesh") -> nn.Parameter:
    cut = distribute_tensor(whole.detach(), mesh, [Shard(0)], src_data_rank=None)
    return nn.Parameter(cut, requires_grad=whole.requires_grad)


def _look_up(embedding: nn.Embedding, mesh: "DeviceMesh", ids: Tensor) -> Tensor:
    """(B, T) to (B, T / P, D): each process gives the rows of its ids, and gets those of its positions.

    DTensor's own lookup makes a gradient of all ids on every process.
    """
    weight = here(embedding.weight)
    own = ids - mesh.get_local_rank() * len(weight)
    is_own = (own >= 0) & (own < len(weight))
    rows = F.embedding(own.where(is_own, 0), weight).masked_fill(~is_own.unsqueeze(-1), 0.0)
    summands = DTensor.from_local(rows, mesh, [Partial()], run_check=False)
    return summands.redistribute(placements=[Shard(_POSITIONS)]).to_local()
