"""How a model's passes run on a device, decided once, and in words that a user can be told."""

from dataclasses import dataclass
from inspect import signature
from typing import Literal

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import depends_on_length

VARLEN_BLOCK_TOKENS = 256
"""FlashAttention 2 reads pages of multiples of this (torch's `flash_api.cpp`)."""
VARLEN_DTYPES = (torch.float16, torch.bfloat16)
VARLEN_HEAD_DIM = 256
_FLASH_CAPABILITY = (8, 0)
"""Ampere: FlashAttention 2 has no kernels for GPUs before it."""


@dataclass(frozen=True)
class PagePlan:
    """How passes run."""

    attention: Literal["varlen", "gathered"] | None
    """None: text by text, through `Runner`."""
    block_tokens: int
    """Positions of a block."""
    graphs: bool = False
    """Whether decoding is recorded once and replayed."""
    reasons: tuple[str, ...] = ()
    """Why it is not the quickest way, if it is not."""

    @property
    def spare_blocks(self) -> int:
        """Blocks that the store has beside the pool's: one that padding writes to."""
        return 0 if self.attention is None else 1

    def describe(self) -> str:
        """One line for a user."""
        if self.attention is None:
            parts = ["attention text by text"]
        else:
            parts = [f"{self.attention} attention over pages of {self.block_tokens} tokens"]
            parts.append("decoding by CUDA graphs" if self.graphs else "no CUDA graphs")
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return ", ".join(parts) + why


def plan_pages(
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device,
    block_tokens: int,
    kv_dtype: torch.dtype | None = None,
) -> PagePlan:
    """Decide how passes run.

    Args:
        config: of the model.
        dtype: of its weights.
        device: where it is.
        block_tokens: positions of a block that were asked for; pages that `varlen` can read are larger.
        kv_dtype: of keys and values; None: that of the weights.
    """
    if device.type != "cuda":
        return PagePlan(None, block_tokens)
    missing = why_not_paged(config)
    if missing is None and kv_dtype not in (None, dtype):
        missing = f"keys and values are kept in {str(kv_dtype).removeprefix('torch.')}"
    if missing is not None:
        return PagePlan(None, block_tokens, reasons=(missing,))
    no_graphs = why_no_graphs(config)
    no_varlen = why_not_varlen(config, dtype, torch.cuda.get_device_capability(device))
    pages = -(-block_tokens // VARLEN_BLOCK_TOKENS) * VARLEN_BLOCK_TOKENS
    return PagePlan(
        attention="varlen" if no_varlen is None else "gathered",
        block_tokens=pages if no_varlen is None else block_tokens,
        graphs=no_graphs is None,
        reasons=tuple(one for one in (no_varlen, no_graphs) if one is not None),
    )


def why_not_paged(config: ModelConfig) -> str | None:
    """What of a model keeps its texts from going through a pass together; None where nothing does."""
    if config.latent is not None:
        return "latent attention has no keys and values to page"
    if depends_on_length(config.rope_scaling):
        return "rotations depend on the length of each text"
    return None


def why_no_graphs(config: ModelConfig) -> str | None:
    """What of a model cannot be recorded; None where all can."""
    return None if config.experts is None else "the CPU has to know which experts are chosen"


def why_not_varlen(config: ModelConfig, dtype: torch.dtype, capability: tuple[int, int]) -> str | None:
    """Why torch's variable-length attention cannot be used; None where it can.

    Args:
        config: of the model.
        dtype: of queries, keys and values.
        capability: of the GPU.
    """
    if capability < _FLASH_CAPABILITY:
        return f"varlen needs compute capability 8.0 (found {capability[0]}.{capability[1]})"
    if dtype not in VARLEN_DTYPES:
        return f"varlen needs float16 or bfloat16 (found {str(dtype).removeprefix('torch.')})"
    if config.attn_logit_softcapping is not None:
        return "varlen does not cap scores"
    if config.attention_sinks:
        return "varlen has no sinks"
    if config.head_dim % 8 or config.head_dim > VARLEN_HEAD_DIM:
        return f"varlen needs a head_dim of a multiple of 8 up to {VARLEN_HEAD_DIM} (found {config.head_dim})"
    if not varlen_has_pages():
        return f"varlen of torch {torch.__version__} reads no pages"
    return None


def varlen_has_pages() -> bool:
    """Whether this torch has variable-length attention, and it takes a block table (2.12 does)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"block_table", "seqused_k", "enable_gqa", "window_size"} <= signature(
        varlen_attn
    ).parameters.keys()
