"""A model's numbers and vectors as the kernels take them; matrices are native_weights.py's.

Shapes: D hidden.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from llmkit.engine.native_parts import ACTIVATIONS
from llmkit.kernels.forward import Sizes
from llmkit.kernels.forward_weights import NormKind, NormWeights, Residual
from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig
from llmkit.model.norm import RMSNorm
from llmkit.model.positions import SinusoidalPositions

Order = Callable[[Tensor], Tensor]
_RESIDUALS = {
    "serial": Residual.SERIAL,
    "parallel": Residual.PARALLEL,
    "parallel_one_norm": Residual.PARALLEL_ONE_NORM,
}


def sizes_of(config: ModelConfig, dtype: torch.dtype) -> Sizes:
    """The numbers of a model whose embeddings have a dtype."""
    return Sizes(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        rotary_dim=config.rotary_dim,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        activation=ACTIVATIONS[config.hidden_act],
        gated=config.gated_mlp,
        norm_kind=NormKind.LAYER if config.norm == "layer" else NormKind.RMS,
        norm_all_heads=config.qk_norm == "projection",
        residual=_RESIDUALS[config.residual],
        epsilon=config.norm_eps,
        scale=config.attention_scale or config.head_dim**-0.5,
        softcap=config.attn_logit_softcapping or 0.0,
        # rounded to the dtype of the embeddings, as the modules do
        embedding_scale=torch.tensor(config.embedding_scale, dtype=dtype).item(),
        residual_scale=config.residual_scale,
        logit_scale=config.logit_scale,
        logit_cap=config.final_logit_softcapping or 0.0,
    )


def added_positions(module: nn.Module | None) -> Floats | None:
    """What positions add to embeddings, (positions, D); None where they rotate."""
    if module is None:
        return None
    table = module.table if isinstance(module, SinusoidalPositions) else module.weight
    assert isinstance(table, Tensor)
    return vector(table)


def angles_of(config: ModelConfig, layer: int) -> int:
    """Which of the pass's tables of angles a layer uses; -1 for none."""
    if config.position != "rope" or layer in config.no_rope_layers:
        return -1
    return int(layer in config.sliding_layers and config.sliding_rope_theta is not None)


def norm_of(module: Any, ordered: Order = lambda rows: rows) -> NormWeights | None:
    """A norm's vectors; Gemma's 1 + weight is added up here."""
    if module is None:
        return None
    weight = vector(module.factor if isinstance(module, RMSNorm) else module.weight, ordered)
    assert weight is not None
    return NormWeights(weight, vector(getattr(module, "bias", None), ordered))


def vector(parameter: Tensor | None, ordered: Order = lambda rows: rows) -> Floats | None:
    """A parameter in float32, in an order of its own; None of none."""
    if parameter is None:
        return None
    values: Floats = ordered(parameter.detach()).float().contiguous().numpy()
    return values
