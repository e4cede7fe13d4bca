"""What computes a model's passes, and the memory of keys and values that it works in."""

from typing import TYPE_CHECKING

from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.layer_groups import LayerGroups
from llmkit.engine.native.native import NativeRunner
from llmkit.engine.native.store import NativeStore
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.pass_runner import Machinery

if TYPE_CHECKING:
    from llmkit.model.transformer import Transformer


def model_device(model: "Transformer | PackedModel") -> str:
    """Where a model is, see `make_machinery`: cpu, or a GPU's name."""
    return "cpu" if isinstance(model, PackedModel) else str(model.model.embed_tokens.weight.device)


def make_machinery(
    model: "Transformer | PackedModel",
    num_blocks: int,
    block_tokens: int,
    *,
    kv_dtype: str | None = None,
    max_texts: int | None = None,
    in_parts: bool = False,
    wide: bool = True,
    groups: LayerGroups | None = None,
    slots: int = 1,
) -> Machinery:
    """The runner of a model and its memory.

    Args:
        model: packed for the kernels, which then compute; or in evaluation mode.
        num_blocks: of the cache.
        block_tokens: positions of a block.
        kv_dtype: what keys and values are kept in; int8 is `kv_codes`; None: the model's.
        max_texts: most of a pass; None: passes on a GPU too go text by text.
        in_parts: whether other processes have other parts of the model.
        wide: with the kernels, whether to use every thread.
        groups: of its layers; None: all are in one.
        slots: states that there is room for, where layers keep one: see `num_slots`.
    """
    if isinstance(model, PackedModel):
        kv = kv_dtype or model.dtype
        store = NativeStore(model.config, num_blocks, block_tokens, kv, groups, slots)
        return Machinery(PagePlan(None), store, NativeRunner(model, store, wide=wide), store.states)
    from llmkit.engine.torch_machinery import torch_machinery  # torch: the kernels need not wait for it

    return torch_machinery(
        model,
        num_blocks,
        block_tokens,
        kv_dtype=kv_dtype,
        max_texts=max_texts,
        in_parts=in_parts,
        groups=groups,
        slots=slots,
    )
