"""How a model's passes run on a device, decided once, and in words that a user can be told."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import depends_on_length

if TYPE_CHECKING:
    import torch

_KERNEL_CAPABILITY = (8, 0)
"""Ampere: Triton supports no GPU before it."""


@dataclass(frozen=True)
class PagePlan:
    """How passes run."""

    attention: Literal["kernels", "gathered"] | None
    """None: text by text, through `Runner`."""
    graphs: bool = False
    """Whether decoding is recorded once and replayed."""
    reasons: tuple[str, ...] = ()
    """Why it is not the quickest way, if it is not."""

    @property
    def spare_blocks(self) -> int:
        """Blocks that the store has beside the pool's: one that padding writes to."""
        return 0 if self.attention is None else 1

    def describe(self, block_tokens: int) -> str:
        """One line for a user, of a store whose blocks have so many positions."""
        if self.attention is None:
            parts = ["attention text by text"]
        else:
            how = "attention by kernels" if self.attention == "kernels" else "gathered attention"
            parts = [f"{how} over pages of {block_tokens} tokens"]
            parts.append("decoding by CUDA graphs" if self.graphs else "no CUDA graphs")
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return ", ".join(parts) + why


def plan_pages(
    config: ModelConfig,
    dtype: "torch.dtype",
    device: "torch.device",
    kv_dtype: "torch.dtype | None" = None,
    in_parts: bool = False,
) -> PagePlan:
    """Decide how passes run.

    Args:
        config: of the model.
        dtype: of its weights.
        device: where it is.
        kv_dtype: of keys and values; None: that of the weights.
        in_parts: whether other processes have other parts of the model.
    """
    if device.type != "cuda":
        return PagePlan(None)
    missing = why_not_paged(config)
    if missing is None and kv_dtype not in (None, dtype):
        missing = f"keys and values are kept in {str(kv_dtype).removeprefix('torch.')}"
    if missing is not None:
        return PagePlan(None, reasons=(missing,))
    import torch  # on a CPU nobody waits for it

    no_graphs = "processes meet in the middle of a pass" if in_parts else why_no_graphs(config)
    no_kernels = why_no_kernels(torch.cuda.get_device_capability(device))
    return PagePlan(
        attention="kernels" if no_kernels is None else "gathered",
        graphs=no_graphs is None,
        reasons=tuple(one for one in (no_kernels, no_graphs) if one is not None),
    )


def why_not_paged(config: ModelConfig) -> str | None:
    """What of a model keeps its texts from going through a pass together; None where nothing does."""
    if config.latent is not None:
        return "latent attention has no keys and values to page"
    if config.full_heads is not None:
        return "layers have heads of their own"
    if config.state_layers or config.lone_mlps or config.attention_gate:
        return "layers keep states, or heads have gates"
    if config.chunked_window and config.sliding_layers:
        return "windows stand side by side"
    if config.qk_norm in ("rotated", "unweighted"):
        return "queries and keys go through norms after their rotation"
    if depends_on_length(config.rope_scaling):
        return "rotations depend on the length of each text"
    return None


def why_no_graphs(config: ModelConfig) -> str | None:
    """What of a model cannot be recorded; None where all can."""
    return None if config.experts is None else "the CPU has to know which experts are chosen"


def why_no_kernels(capability: tuple[int, int]) -> str | None:
    """Why attention is not computed by our kernels; None where it is.

    Args:
        capability: of the GPU.
    """
    if capability < _KERNEL_CAPABILITY:
        return f"kernels need compute capability 8.0 (found {capability[0]}.{capability[1]})"
    if find_spec("triton") is None:
        return "kernels need Triton (pip install triton)"
    return None
