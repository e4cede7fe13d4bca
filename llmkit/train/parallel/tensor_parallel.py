"""Tensor parallelism: every matrix of a layer cut by heads or by columns (1909.08053), as DTensors.

q, k, v, gate and up are cut by what comes out, o and down by what goes in, so that a layer sums over the
processes twice. Embeddings and the head are cut by the vocabulary. Norms of the stream, routers and experts
are whole on every process.
"""

from typing import TYPE_CHECKING

from torch import nn
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleInputOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from llmkit.model.attention import Attention
from llmkit.model.block import Block
from llmkit.model.mlp import GatedMLP, PlainMLP
from llmkit.model.transformer import TiedHead, Transformer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_HEADS = 2  # the dimension of heads in (B, T, H, E)


def cut_matrices(model: Transformer, mesh: "DeviceMesh") -> None:
    """Keep this process's part of each matrix. Every process has the same model before.

    Args:
        model: changed in place; names stay.
        mesh: of one dimension.
    """
    for layer in model.model.layers:
        if isinstance(layer, Block):  # else it is another stage's
            parallelize_module(layer, mesh, _plan(layer), src_data_rank=None)
    if isinstance(model.model.embed_tokens, nn.Embedding):
        embedding = RowwiseParallel(input_layouts=Replicate())
        parallelize_module(model.model.embed_tokens, mesh, embedding, src_data_rank=None)
    head = model.lm_head
    if isinstance(head, TiedHead):
        if head.bias is not None:
            cut = distribute_tensor(head.bias.detach(), mesh, [Shard(0)], src_data_rank=None)
            head.bias = nn.Parameter(cut)
        parallelize_module(head, mesh, _tied())
    elif isinstance(head, nn.Linear):
        parallelize_module(head, mesh, ColwiseParallel(output_layouts=Replicate()), src_data_rank=None)


def _plan(layer: Block) -> dict[str, ParallelStyle]:
    """How each module of a layer is cut, by name."""
    plan: dict[str, ParallelStyle] = {}
    attention, mlp = layer.self_attn, layer.mlp
    if isinstance(attention, Attention):
        plan |= {f"self_attn.{name}": ColwiseParallel() for name in ("q_proj", "k_proj", "v_proj")}
        plan |= {"self_attn.o_proj": RowwiseParallel(), "self_attn": _read_once(3)}
        if attention.q_norm is not None:
            norm = SequenceParallel(sequence_dim=_HEADS, use_local_output=True)
            plan |= {"self_attn.q_norm": norm, "self_attn.k_norm": norm}
    if isinstance(mlp, GatedMLP | PlainMLP):
        names = [name for name in ("gate_proj", "up_proj") if hasattr(mlp, name)]
        plan |= {f"mlp.{name}": ColwiseParallel() for name in names}
        plan |= {"mlp.down_proj": RowwiseParallel(), "mlp": _read_once(1)}
    return plan


def _read_once(arguments: int) -> ParallelStyle:
    """The stream as one DTensor, so that its gradient is summed over processes once, not once a matrix."""
    layouts = (Replicate(), *[None] * (arguments - 1))
    return PrepareModuleInput(input_layouts=layouts, desired_input_layouts=layouts)


def _tied() -> ParallelStyle:
    """A head that reads the embedding, which is cut by the vocabulary already."""
    return PrepareModuleInputOutput(
        input_layouts=(Replicate(),),
        desired_input_layouts=(Replicate(),),
        output_layouts=(Shard(-1),),
        desired_output_layouts=(Replicate(),),
    )
