"""A model's numbers and vectors as the kernels take them; matrices are native/weights.py's.

Shapes: D hidden, H heads of one kind, E head_dim, R rotary_dim.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.native.parts import ACTIVATIONS
from llmkit.kernels.forward import Sizes
from llmkit.kernels.forward_weights import NormKind, NormWeights, Residual
from llmkit.kernels.memory import Floats
from llmkit.model.config import ModelConfig
from llmkit.model.layer_sizes import head_sizes
from llmkit.model.position_tables import sinusoids
from llmkit.model.stored_numbers import as_dtype, as_float32

_RESIDUALS = {
    "serial": Residual.SERIAL,
    "parallel": Residual.PARALLEL,
    "parallel_one_norm": Residual.PARALLEL_ONE_NORM,
}


class Vectors:
    """Norms, biases and other small tensors of a model, in float32."""

    def __init__(
        self,
        config: ModelConfig,
        shapes: Mapping[str, tuple[int, ...]],
        take: Callable[[str], NDArray[Any]],
    ) -> None:
        """
        Args:
            config: of the model.
            shapes: of its tensors.
            take: gives one of them by its name; bfloat16 is uint16.
        """
        self.config = config
        self._shapes, self._take = shapes, take

    def take(self, name: str, *, turned: bool = False, head_dim: int | None = None) -> Floats | None:
        """A tensor, (...), or None where the model has none of this name; turned: `half_by_half`."""
        if name not in self._shapes:
            return None
        values = as_float32(self._take(name))
        if not turned:
            return values
        return np.ascontiguousarray(half_by_half(self.config, values, head_dim=head_dim))

    def norm(self, module: str, *, turned: bool = False) -> NormWeights | None:
        """A norm's vectors; the 1 + weight of Gemma and Nemotron is added up here."""
        weight = self.take(f"{module}.weight", turned=turned)
        if weight is None:
            return None
        if self.config.norm_plus_one:
            weight = weight + np.float32(1)
        return NormWeights(weight, self.take(f"{module}.bias", turned=turned))

    def head_norm(self, layer: int, name: str) -> NormWeights | None:
        """The norm of a layer's queries or keys; one without a weight has ones here, where heads rotate."""
        config = self.config
        if config.qk_norm == "unweighted":
            rotates = angles_of(config, layer) >= 0
            return NormWeights(np.ones(config.head_dim, np.float32)) if rotates else None
        return self.norm(f"model.layers.{layer}.self_attn.{name}", turned=True)

    def curve(self, module: str) -> Floats | None:
        """xIELU's numbers as `native/kernels.h` has them, (4,); None for other activations."""
        names = ("alpha_p", "alpha_n", "beta", "eps")
        values = [value for name in names if (value := self.take(f"{module}.{name}")) is not None]
        if not values:
            return None
        above, below, slope, end = (value.item() for value in values)
        return np.array([_softplus(above), slope + _softplus(below), slope, end], np.float32)


def _softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def sizes_of(config: ModelConfig, dtype: str, *, vocabulary: int) -> Sizes:
    """The numbers of a model whose embeddings have a dtype, and whose head has so many rows."""
    return Sizes(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        rotary_dim=config.rotary_dim,
        intermediate=config.intermediate_size,
        vocabulary=vocabulary,
        activation=ACTIVATIONS[config.hidden_act],
        gated=config.gated_mlp,
        norm_kind=NormKind.LAYER if config.norm == "layer" else NormKind.RMS,
        norm_all_heads=config.qk_norm == "projection",
        norm_values=config.value_norm,
        norm_turned=config.qk_norm in ("rotated", "unweighted"),
        chunked=config.chunked_window,
        grows_unrotated=config.query_growth_unrotated,
        residual=_RESIDUALS[config.residual],
        epsilon=config.norm_eps,
        scale=config.score_scale,
        softcap=config.attn_logit_softcapping or 0.0,
        # rounded to the dtype of the embeddings, as the modules do
        embedding_scale=rounded_to(dtype, config.embedding_scale),
        residual_scale=config.residual_scale,
        gate_scale=1.0 if config.multipliers is None else config.multipliers.mlp_gate,
        logit_scale=config.logit_scale,
        logit_cap=config.final_logit_softcapping or 0.0,
    )


def rounded_to(dtype: str, number: float) -> float:
    """A number as a dtype has it."""
    return as_float32(as_dtype(np.array([number], np.float32), dtype)).item()


def heads_of(config: ModelConfig, layer: int) -> tuple[int, int, int]:
    """kv_heads, head_dim and rotary_dim of a layer."""
    kv_heads, head_dim = head_sizes(config, layer)
    has_all = config.full_heads is not None and layer not in config.sliding_layers
    return kv_heads, head_dim, head_dim if has_all else config.rotary_dim


def added_positions(vectors: Vectors) -> Floats | None:
    """What positions add to embeddings, (positions, D); None where they rotate."""
    config = vectors.config
    if config.position == "sinusoidal":
        return sinusoids(config.max_position_embeddings, config.hidden_size)
    return vectors.take("model.embed_positions.weight")


def angles_of(config: ModelConfig, layer: int) -> int:
    """Which of the pass's tables of angles a layer uses; -1 for none."""
    if config.position != "rope" or layer in config.no_rope_layers:
        return -1
    return int(layer in config.sliding_layers and config.sliding_rope_theta is not None)


def half_by_half(config: ModelConfig, rows: NDArray[Any], *, head_dim: int | None = None) -> NDArray[Any]:
    """Rows of queries or keys, (H * E, ...) or one head's: pairs that stand side by side put apart.

    The kernels turn pairs that are half a head apart. Queries and keys are reordered alike, so that scores do
    not change. Latent attention turns the last R numbers of a head, others the first.

    Args:
        config: of the model.
        rows: see above.
        head_dim: E, where it is not the model's.
    """
    E, R = head_dim or config.head_dim, config.rotary_dim
    if not config.rope_interleaved:
        return rows
    turned = np.concatenate((np.arange(0, R, 2), np.arange(1, R, 2)))
    if config.latent is None:
        order = np.concatenate((turned, np.arange(R, E)))
    else:
        order = np.concatenate((np.arange(E - R), E - R + turned))
    return rows.reshape(-1, E, *rows.shape[1:])[:, order].reshape(rows.shape)


def queries_and_gates(config: ModelConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of a matrix that has E of a query and E of its gate, head by head: all queries', all gates'."""
    heads = np.arange(2 * config.num_attention_heads * config.head_dim).reshape(-1, 2, config.head_dim)
    return half_by_half(config, heads[:, 0].reshape(-1)), heads[:, 1].reshape(-1)
