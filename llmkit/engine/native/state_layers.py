"""Layers of state packed for the kernels; what these layers compute is model/recurrent's.

Shapes: D hidden, C channels of a convolution, N positions that it spans, G key heads of X numbers,
W value heads of Y numbers.
"""

from typing import Any

import numpy as np

from llmkit.engine.native.matrices import Matrices
from llmkit.engine.native.states import state_sizes
from llmkit.engine.native.vectors import Vectors
from llmkit.kernels.forward_states import StateWeights
from llmkit.kernels.memory import Floats, rows_of
from llmkit.kernels.packed import PackedFormat, pack
from llmkit.model.config import ModelConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config
from llmkit.model.recurrent.key_heads import inputs_by_head, rates_by_head


def state_weights(config: ModelConfig, module: str, matrices: Matrices) -> StateWeights:
    """What a layer has in place of queries, keys and values.

    Args:
        config: of the model.
        module: the layer's, by its name.
        matrices: of the model.
    """
    if config.delta is not None:
        return _rule(config, config.delta, module, matrices)
    if config.mamba is not None:
        return _space(config, config.mamba, module, matrices)
    take = matrices.vectors.take
    return StateWeights(
        sizes=state_sizes(config),
        inputs=matrices.pack(f"{module}.in_proj.weight"),
        inputs_bias=take(f"{module}.in_proj.bias"),
        taps=_taps(matrices.vectors, f"{module}.conv.weight"),
        taps_bias=take(f"{module}.conv.bias"),
    )


def _rule(config: ModelConfig, delta: DeltaConfig, module: str, matrices: Matrices) -> StateWeights:
    """Rates and decays stay float32, as routers do: they are few, and a text is multiplied with them over and
    over."""
    vectors = matrices.vectors
    if delta.inputs_by_head:
        inputs, gate = matrices.shared_out(f"{module}.in_proj_qkvz.weight", inputs_by_head(delta))
        rates = _taken(vectors, f"{module}.in_proj_ba.weight")[np.concatenate(rates_by_head(delta))]
    else:
        inputs, gate = (matrices.pack(f"{module}.in_proj_{one}.weight") for one in ("qkv", "z"))
        rates = np.concatenate([_taken(vectors, f"{module}.in_proj_{one}.weight") for one in "ba"])
    return StateWeights(
        sizes=state_sizes(config),
        inputs=inputs,
        gate=gate,
        rates=pack(rows_of(rates), PackedFormat.FLOAT32),
        taps=_taps(vectors, f"{module}.conv1d.weight"),
        slopes=-np.exp(_taken(vectors, f"{module}.A_log")),
        steps=vectors.take(f"{module}.dt_bias"),
        norm=vectors.take(f"{module}.norm.weight"),  # nothing is added to it, whatever other norms do
    )


def _space(config: ModelConfig, mamba: Mamba2Config, module: str, matrices: Matrices) -> StateWeights:
    """One matrix gives all that is read, steps too: files round it as a whole."""
    vectors = matrices.vectors
    return StateWeights(
        sizes=state_sizes(config),
        inputs=matrices.pack(f"{module}.in_proj.weight"),
        inputs_bias=vectors.take(f"{module}.in_proj.bias"),
        taps=_taps(vectors, f"{module}.conv1d.weight"),
        taps_bias=vectors.take(f"{module}.conv1d.bias"),
        slopes=-np.exp(_taken(vectors, f"{module}.A_log")),
        steps=vectors.take(f"{module}.dt_bias"),
        skips=vectors.take(f"{module}.D"),
        norm=vectors.take(f"{module}.norm.weight"),  # nothing is added to it, whatever other norms do
        **_beside(config, mamba, module, matrices),
    )


def _beside(config: ModelConfig, mamba: Mamba2Config, module: str, matrices: Matrices) -> dict[str, Any]:
    """What a layer has that attends too, whose `o` is attention's; and what products are multiplied with."""
    told: dict[str, Any] = {}
    if config.has_both:
        out = f"{module}.out_proj"
        told = {"out": matrices.pack(f"{out}.weight"), "out_bias": matrices.vectors.take(f"{out}.bias")}
    if config.multipliers is not None:
        keys = mamba.num_groups * mamba.state_size
        rows = mamba.width, mamba.width, keys, keys, mamba.num_heads
        told["scales"] = np.repeat(np.array(config.multipliers.state_inputs, np.float32), rows)
        told["out_scale"] = config.multipliers.state_out
    return told


def _taps(vectors: Vectors, name: str) -> Floats:
    """(C, 1, N) as (N, C)."""
    return np.ascontiguousarray(_taken(vectors, name)[:, 0].T)


def _taken(vectors: Vectors, name: str) -> Floats:
    found = vectors.take(name)
    assert found is not None
    return found
