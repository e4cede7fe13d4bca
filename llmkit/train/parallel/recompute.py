"""Activations that are not kept for the backward pass but computed again in it: memory for time."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import llmkit.model.grouped_linear
import llmkit.model.learnt.attention  # noqa: F401  their operations are named here
from llmkit.model.adapters.lora import LowRankChange
from llmkit.train.config import ActivationCheckpointing

_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_mm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.llmkit.grouped_linear.default,
    torch.ops.llmkit.learnt_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}
"""What is costly to compute again: matrix products and attention."""


def recompute(layers: Iterable[nn.Module], how: ActivationCheckpointing) -> None:
    """Let every layer keep less for its backward pass.

    Args:
        layers: of a model; changed in place, under the same names.
        how: full keeps what comes into a layer; selective also what its products and attention gave.
    """
    if how == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
        # its compiler asks everybody to look for operations in place, of which layers in training have none
        logging.getLogger("torch._higher_order_ops.wrap").setLevel(logging.ERROR)
    for layer in layers:
        layer.forward = _checkpointed(layer.forward, preserve_rng_state=_draws(layer), **options)


def _checkpointed(forward: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function of Python's, not a partial one: the compiler passes over calls that have no frame but
    PyTorch's own, and would leave a layer as it is without a word."""

    def again(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, **options, **kwargs)

    return again


def _draws(layer: nn.Module) -> bool:
    """Whether it has dropout, which has to leave out the same again: to keep the generators' states costs."""
    return any(isinstance(module, LowRankChange) and module.dropout for module in layer.modules())


def _policy(ctx: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
