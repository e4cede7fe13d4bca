"""A model's weights packed for the kernels, by their names: from files, or from a model's modules.

A router stays float32 whatever the rest is: a rounding error there is another expert. No torch: a process
that only writes need not wait for it.
Shapes: D hidden, H heads of one kind, E head_dim, R rotary_dim, F intermediate, X experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.engine.native.latent import latent_attention
from llmkit.engine.native.matrices import Matrices, Weights
from llmkit.engine.native.parts import ACTIVATIONS
from llmkit.engine.native.state_layers import state_weights
from llmkit.engine.native.vectors import (
    added_positions,
    angles_of,
    heads_of,
    queries_and_gates,
    rounded_to,
    sizes_of,
)
from llmkit.kernels.forward import Embedding, NativeModel
from llmkit.kernels.forward_own import OwnEmbeddings
from llmkit.kernels.forward_structs import Activation
from llmkit.kernels.forward_weights import (
    ExpertWeights,
    LayerWeights,
    NormWeights,
    OwnInputWeights,
    Scoring,
)
from llmkit.kernels.memory import Floats, rows_of
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.config import ModelConfig
from llmkit.model.layer_sizes import kv_owner
from llmkit.model.rope_tables import RopeTables
from llmkit.model.shapes import mixer_name

if TYPE_CHECKING:
    from llmkit.engine.parallel.ranks import Ranks

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_FORMATS = {"float32": PackedFormat.FLOAT32, "bfloat16": PackedFormat.BFLOAT16}
_NORMS = {  # of a layer, before and after attention, before and after the MLP
    "before": ("input_layernorm", None, "post_attention_layernorm", None),
    "after": (None, "post_attention_layernorm", None, "post_feedforward_layernorm"),
    "both": (
        *("input_layernorm", "post_attention_layernorm"),
        *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
}


@dataclass(frozen=True)
class PackedModel:
    """A model that the kernels compute."""

    config: ModelConfig
    native: NativeModel
    dtype: str
    """Of weights that are plain numbers."""
    ranks: "Ranks | None" = None
    """The processes that have the other parts of it; None: it is whole."""

    @property
    def nbytes(self) -> int:
        """Bytes of packed weights."""
        return self.native.nbytes

    @cached_property
    def rope(self) -> RopeTables | None:
        """Rotations, made once for whoever runs it; None where positions do not rotate."""
        return RopeTables(self.config) if self.config.position == "rope" else None


def pack_weights(
    weights: Weights, packed_format: PackedFormat | None = None, *, ranks: "Ranks | None" = None
) -> PackedModel:
    """A model's weights as the kernels read them.

    Args:
        weights: of a model that `runs_natively`.
        packed_format: INT8 or INT4 to round to; None keeps the weights as they are.
        ranks: where these are a part of the model.
    """
    config, dtype = weights.config, weights.dtype
    packer = _Packer(weights, packed_format or _FORMATS[dtype])
    vectors = packer.vectors
    tokens = None if EMBEDDING in weights.codes else weights.take(EMBEDDING)
    if HEAD in weights.shapes:  # as a part has one also where the whole one is the embedding
        head = packer.pack(HEAD)
        coded = packer.pack(EMBEDDING) if tokens is None else head
    else:
        head = coded = packer.pack(EMBEDDING, tokens)
    embedding = Embedding(coded if tokens is None else rows_of(tokens), added_positions(vectors))
    layers = [packer.layer(number) for number in range(config.num_hidden_layers)]
    last_norm = vectors.norm("model.norm")
    assert last_norm is not None
    own = packer.own_embeddings()
    sizes = sizes_of(config, dtype, vocabulary=head.num_rows)  # of a part fewer
    head_bias = vectors.take("lm_head.bias")
    native = NativeModel(sizes, embedding, layers, last_norm, head, head_bias, own)
    return PackedModel(config, native, dtype, ranks)


def _norms(config: ModelConfig, number: int) -> Sequence[str | None]:
    """Names of a layer's norms, as `_NORMS` has them; where it is one branch alone there is one."""
    if config.lone_mlps is None:
        return _NORMS[config.norm_placement]
    one = "input_layernorm"
    return (None, None, one, None) if number in config.lone_mlps else (one, None, None, None)


class _Packer(Matrices):
    """Packs the layers of a model one after the other."""

    def layer(self, number: int) -> LayerWeights:
        """A layer's weights."""
        config, vectors = self.config, self.vectors
        layer = f"model.layers.{number}"
        mixer, mlp = f"{layer}.{mixer_name(config, number)}", f"{layer}.mlp"
        before, after, before_mlp, after_mlp = (
            vectors.norm(f"{layer}.{name}") if name else None for name in _norms(config, number)
        )
        mixed, biases = self._mixer(number, mixer)
        feed, feed_biases = self._feed(mlp)
        scalar, owner = vectors.take(f"{layer}.layer_scalar"), kv_owner(config, number)
        return LayerWeights(
            before_attention=before,
            after_attention=after,
            before_mlp=before_mlp,
            after_mlp=after_mlp,
            **mixed,
            **feed,
            biases=(*biases[:4], *feed_biases, *biases[4:]),
            curve=vectors.curve(f"{mlp}.act_fn"),
            window=(config.sliding_window or 0) if number in config.sliding_layers else 0,
            angles=angles_of(config, number),
            mix_scale=1.0 if config.multipliers is None else config.multipliers.attention,
            feed_scale=1.0 if config.multipliers is None else config.multipliers.mlp_out,
            heads=heads_of(config, number),
            owner=None if owner == number else owner,
            own_input=self._own_input(f"{layer}.own_input"),
            scalar=1.0 if scalar is None else scalar.item(),
        )

    def own_embeddings(self) -> OwnEmbeddings | None:
        """Of all layers, where they have some."""
        config, own = self.config, "model.own_inputs"
        if config.own_inputs is None:
            return None
        table = f"{own}.embed_tokens.weight"
        norm = self.vectors.norm(f"{own}.norm")
        assert norm is not None
        return OwnEmbeddings(
            self.pack(table) if table in self.weights.codes else rows_of(self.weights.take(table)),
            self.pack(f"{own}.projection.weight"),
            norm,
            rounded_to(self.weights.dtype, config.own_inputs.width**0.5),
            config.hidden_size**-0.5,
        )

    def _own_input(self, module: str) -> OwnInputWeights | None:
        if self.config.own_inputs is None:
            return None
        gate, projection = (self.pack(f"{module}.{name}.weight") for name in ("gate", "projection"))
        norm = self.vectors.norm(f"{module}.norm")
        assert norm is not None
        return OwnInputWeights(gate, projection, norm)

    def _mixer(self, number: int, module: str) -> tuple[dict[str, Any], tuple[Floats | None, ...]]:
        """What a layer reads other positions by, and the biases of q, k, v, o and of attention's gate."""
        if number in self.config.state_layers and not self.config.has_both:
            return self._state(module)
        if number in (self.config.lone_mlps or ()):
            return {}, (None,) * 5
        if self.config.latent is not None:
            return latent_attention(self, self.config.latent, module)
        attention, biases = self._attention(number, module)
        if self.config.has_both and number in self.config.state_layers:
            beside = f"{module.removesuffix('self_attn')}mamba"
            attention["state"] = state_weights(self.config, beside, self)
        return attention, biases

    def _attention(self, number: int, module: str) -> tuple[dict[str, Any], tuple[Floats | None, ...]]:
        """A layer's attention, as `_mixer` gives it."""
        vectors = self.vectors
        q, gate, q_bias, gate_bias = self._queries(f"{module}.q_proj")
        k, v, o = (f"{module}.{one}_proj" for one in "kvo")
        parts = {
            "q_norm": vectors.head_norm(number, "q_norm"),
            "k_norm": vectors.head_norm(number, "k_norm"),
            **{"q": q, "attention_gate": gate, "o": self.pack(f"{o}.weight")},
            "k": self.pack(f"{k}.weight", turned=True) if f"{k}.weight" in self.weights.shapes else None,
            "v": self.pack(f"{v}.weight") if f"{v}.weight" in self.weights.shapes else None,
            "sinks": vectors.take(f"{module}.sinks"),
        }
        k_bias = vectors.take(f"{k}.bias", turned=True)
        return parts, (q_bias, k_bias, vectors.take(f"{v}.bias"), vectors.take(f"{o}.bias"), gate_bias)

    def _queries(self, module: str) -> tuple[PackedWeight, PackedWeight | None, Floats | None, Floats | None]:
        """The matrix of queries and that of attention's gate, and the biases of both."""
        name, bias = f"{module}.weight", f"{module}.bias"
        if not self.config.attention_gate:
            return self.pack(name, turned=True), None, self.vectors.take(bias, turned=True), None
        orders = queries_and_gates(self.config)
        q, gate = self.shared_out(name, orders)
        both = self.vectors.take(bias)
        return q, gate, *((None, None) if both is None else (both[order] for order in orders))

    def _state(self, module: str) -> tuple[dict[str, Any], tuple[Floats | None, ...]]:
        """A layer that keeps a state, as `_mixer` gives it."""
        out = f"{module}.out_proj"
        parts = {"state": state_weights(self.config, module, self), "o": self.pack(f"{out}.weight")}
        return parts, (None, None, None, self.vectors.take(f"{out}.bias"), None)

    def _feed(self, mlp: str) -> tuple[dict[str, Any], tuple[Floats | None, Floats | None]]:
        """What a layer has behind attention, if there is anything, and the biases of a plain MLP."""
        if f"{mlp}.experts.down_proj" in self.weights.shapes:
            return {"experts": self._experts(mlp)}, (None, None)
        if f"{mlp}.down_proj.weight" not in self.weights.shapes:
            return {}, (None, None)
        gate_up, down, *biases = self._mlp(mlp)
        return {"gate_up": gate_up, "down": down}, (biases[0], biases[1])

    def _mlp(self, mlp: str) -> tuple[PackedWeight, PackedWeight, Floats | None, Floats | None]:
        """The gate and up as one matrix, down, and the biases of both."""
        inner = [
            f"{mlp}.{one}_proj" for one in ("gate", "up") if f"{mlp}.{one}_proj.weight" in self.weights.shapes
        ]
        biases = [self.vectors.take(f"{one}.bias") for one in inner]
        return (
            self.joined([f"{one}.weight" for one in inner]),
            self.pack(f"{mlp}.down_proj.weight"),
            None if biases[0] is None else np.concatenate([one for one in biases if one is not None]),
            self.vectors.take(f"{mlp}.down_proj.bias"),
        )

    def _beside(self, mlp: str) -> dict[str, Any]:
        """What experts have beside an MLP."""
        scale = self.vectors.take(f"{mlp}.gate.scale")
        if scale is None:
            return {}
        names = {"before_experts": "norm_read", "after_shared": "norm_mlp", "after_experts": "norm_experts"}
        norms = {part: self.vectors.norm(f"{mlp}.{name}") for part, name in names.items()}
        before_router = NormWeights(scale * np.float32(self.config.hidden_size**-0.5))
        scales = self.vectors.take(f"{mlp}.gate.per_expert_scale")
        return {**norms, "before_router": before_router, "expert_scales": scales}

    def _experts(self, mlp: str) -> ExpertWeights:
        """A router and its experts."""
        config = self.config.experts
        assert config is not None
        take = self.vectors.take
        parts: dict[str, Any] = {}
        if config.shared_intermediate_size:
            names = ("shared_gate_up", "shared_down", "shared_gate_up_bias", "shared_down_bias")
            parts = dict(zip(names, self._mlp(f"{mlp}.shared_expert"), strict=True))
        router, bias = take(f"{mlp}.gate.weight"), take(f"{mlp}.gate.bias")
        assert router is not None
        if (gate := take(f"{mlp}.shared_expert_gate.weight")) is not None:  # one more row, without a bias
            router = np.concatenate((router, gate))
            bias = None if bias is None else np.concatenate((bias, np.zeros(1, np.float32)))
        return ExpertWeights(
            router=pack(rows_of(router), PackedFormat.FLOAT32),
            router_bias=bias,
            selection_bias=take(f"{mlp}.gate.e_score_correction_bias"),
            gate_up=self.stack(f"{mlp}.experts.{'gate_up' if self.config.gated_mlp else 'up'}_proj"),
            down=self.stack(f"{mlp}.experts.down_proj"),
            gate_up_bias=take(f"{mlp}.experts.gate_up_proj_bias"),
            down_bias=take(f"{mlp}.experts.down_proj_bias"),
            **parts,
            **self._beside(mlp),
            shared_gate=gate is not None,
            per_token=config.num_experts_per_tok,
            scoring=Scoring.SIGMOID if config.scoring == "sigmoid" else Scoring.SOFTMAX,
            normalised=config.norm_topk_prob,
            scaling=config.routed_scaling_factor,
            weighs_inputs=config.weighs_inputs,
            num_groups=config.num_groups,
            top_groups=config.topk_groups,
            group_scores=1 if config.group_score == "best" else 2,
            activation=(
                Activation.CLAMPED_SWIGLU if config.swiglu_limit else ACTIVATIONS[self.config.hidden_act]
            ),
            limit=config.swiglu_limit,
        )
