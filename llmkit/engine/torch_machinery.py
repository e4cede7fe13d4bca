"""What computes the passes of a model's modules: on a GPU page by page, else text by text."""

import torch

from llmkit.engine.cuda.plan import PagePlan, plan_pages
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.layer_groups import LayerGroups
from llmkit.engine.pass_runner import Machinery, PassRunner
from llmkit.engine.runner import Runner
from llmkit.engine.store import KVStore
from llmkit.model.transformer import Transformer


def torch_machinery(
    model: Transformer,
    num_blocks: int,
    block_tokens: int,
    *,
    kv_dtype: str | None,
    max_texts: int | None,
    in_parts: bool,
    groups: LayerGroups | None = None,
    slots: int = 1,
) -> Machinery:
    """See `make_machinery`; model: in evaluation mode."""
    weight = model.model.embed_tokens.weight
    kv: torch.dtype = weight.dtype if kv_dtype is None else getattr(torch, kv_dtype)
    plan = PagePlan(None)
    if max_texts is not None:
        plan = plan_pages(model.config, weight.dtype, weight.device, kv, in_parts)
    blocks = num_blocks + plan.spare_blocks
    store = KVStore(model.config, blocks, block_tokens, kv, weight.device, groups, slots)
    return Machinery(plan, store, torch_runner(model, store, plan, max_texts or 0), store.states)


def torch_runner(model: Transformer, store: KVStore, plan: PagePlan, max_texts: int) -> PassRunner:
    """The runner of a model.

    Args:
        model: in evaluation mode.
        store: memory of keys and values, with the plan's spare blocks.
        plan: how passes run where the model is.
        max_texts: most of a pass.
    """
    if plan.attention is None:
        return Runner(model, store)
    return CudaRunner(model, store, plan, max_texts=max_texts)
