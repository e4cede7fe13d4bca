"""A model's weights packed for the kernels, by their names: from files, or from a model's modules.

Weights are kept as they are (float32, bfloat16, or the codes of a quantised file) or rounded to 8 or 4 bits
in groups of 32, as GGUF's Q8_0 and Q4_0. A router stays float32 whatever the rest is: a rounding error there
is another expert. No torch: a process that only writes need not wait for it.
Shapes: D hidden, H heads of one kind, E head_dim, R rotary_dim, F intermediate, X experts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.native.latent import latent_attention
from llmkit.engine.native.parts import ACTIVATIONS
from llmkit.engine.native.vectors import Vectors, added_positions, angles_of, half_by_half, sizes_of
from llmkit.kernels.coded import CodedMatrix, common, stacked
from llmkit.kernels.elementwise import Activation
from llmkit.kernels.forward import Embedding, NativeModel
from llmkit.kernels.forward_weights import ExpertWeights, LayerWeights, Scoring
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.memory import Floats, rows_of
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack, pack_below
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.coded_weights import Source
from llmkit.model.rope_tables import RopeTables
from llmkit.model.stored_numbers import as_dtype

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


class Weights(Protocol):
    """A model's weights by their names.

    Attributes:
        config: of the model.
        dtype: of its weights, but for those that stay float32.
        codes: those that stay the codes they are stored as: one matrix, or each expert's of a stack.
    """

    config: ModelConfig
    dtype: str
    codes: Mapping[str, list[Source]]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of all of them."""

    def take(self, name: str) -> NDArray[Any]:
        """One that is numbers; bfloat16 is uint16. It is asked for once."""

    def forget(self, rows: NDArray[Any]) -> None:
        """Rows of one that was taken are packed: pages of theirs are needed no more."""

    def give_up(self, name: str) -> None:
        """It is packed, all of it."""


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
    sizes = sizes_of(config, dtype, vocabulary=head.num_rows)  # of a part fewer
    head_bias = vectors.take("lm_head.bias")
    native = NativeModel(sizes, embedding, layers, last_norm, head, head_bias)
    return PackedModel(config, native, dtype, ranks)


class _Packer:
    """Packs the matrices of a model one after the other."""

    def __init__(self, weights: Weights, packed_format: PackedFormat) -> None:
        self._weights = weights
        self._config = weights.config
        self._format = packed_format
        self.vectors = Vectors(weights.config, weights.shapes, weights.take)

    def layer(self, number: int) -> LayerWeights:
        """A layer's weights."""
        config, vectors = self._config, self.vectors
        layer = f"model.layers.{number}"
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        before, after, before_mlp, after_mlp = (
            vectors.norm(f"{layer}.{name}") if name else None for name in _NORMS[config.norm_placement]
        )
        feed, feed_biases = self._feed(mlp)
        looks = self._attention if config.latent is None else partial(latent_attention, self, config.latent)
        parts, biases = looks(attention)
        return LayerWeights(
            before_attention=before,
            after_attention=after,
            before_mlp=before_mlp,
            after_mlp=after_mlp,
            **parts,
            **feed,
            biases=(*biases, *feed_biases),
            sinks=vectors.take(f"{attention}.sinks"),
            curve=vectors.curve(f"{mlp}.act_fn"),
            window=(config.sliding_window or 0) if number in config.sliding_layers else 0,
            angles=angles_of(config, number),
        )

    def _attention(self, attention: str) -> tuple[dict[str, Any], tuple[Floats | None, ...]]:
        """Norms and matrices of keys and values of heads, and the biases of q, k, v and o."""
        vectors = self.vectors
        parts = {
            "q_norm": vectors.norm(f"{attention}.q_norm", turned=True),
            "k_norm": vectors.norm(f"{attention}.k_norm", turned=True),
            "q": self.pack(f"{attention}.q_proj.weight", turned=True),
            "k": self.pack(f"{attention}.k_proj.weight", turned=True),
            "v": self.pack(f"{attention}.v_proj.weight"),
            "o": self.pack(f"{attention}.o_proj.weight"),
        }
        biases = (
            *(vectors.take(f"{attention}.{one}_proj.bias", turned=True) for one in "qk"),
            *(vectors.take(f"{attention}.{one}_proj.bias") for one in "vo"),
        )
        return parts, biases

    def _feed(self, mlp: str) -> tuple[dict[str, Any], tuple[Floats | None, Floats | None]]:
        """What a layer has behind attention, and the biases of a plain MLP."""
        if f"{mlp}.experts.down_proj" in self._weights.shapes:
            return {"experts": self._experts(mlp)}, (None, None)
        gate_up, down, *biases = self._mlp(mlp)
        return {"gate_up": gate_up, "down": down}, (biases[0], biases[1])

    def _mlp(self, mlp: str) -> tuple[PackedWeight, PackedWeight, Floats | None, Floats | None]:
        """The gate and up as one matrix, down, and the biases of both."""
        inner = [
            f"{mlp}.{one}_proj"
            for one in ("gate", "up")
            if f"{mlp}.{one}_proj.weight" in self._weights.shapes
        ]
        biases = [self.vectors.take(f"{one}.bias") for one in inner]
        return (
            self._joined([f"{one}.weight" for one in inner]),
            self.pack(f"{mlp}.down_proj.weight"),
            None if biases[0] is None else np.concatenate([one for one in biases if one is not None]),
            self.vectors.take(f"{mlp}.down_proj.bias"),
        )

    def _experts(self, mlp: str) -> ExpertWeights:
        """A router and its experts."""
        config = self._config.experts
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
            gate_up=self._stack(f"{mlp}.experts.gate_up_proj"),
            down=self._stack(f"{mlp}.experts.down_proj"),
            gate_up_bias=take(f"{mlp}.experts.gate_up_proj_bias"),
            down_bias=take(f"{mlp}.experts.down_proj_bias"),
            **parts,
            shared_gate=gate is not None,
            per_token=config.num_experts_per_tok,
            scoring=Scoring.SIGMOID if config.scoring == "sigmoid" else Scoring.SOFTMAX,
            normalised=config.norm_topk_prob,
            scaling=config.routed_scaling_factor,
            num_groups=config.num_groups,
            top_groups=config.topk_groups,
            group_scores=1 if config.group_score == "best" else 2,
            activation=(
                Activation.CLAMPED_SWIGLU if config.swiglu_limit else ACTIVATIONS[self._config.hidden_act]
            ),
            limit=config.swiglu_limit,
        )

    def pack(
        self,
        name: str,
        taken: NDArray[Any] | None = None,
        *,
        turned: bool = False,
        head_dim: int | None = None,
    ) -> PackedWeight:
        """A matrix (out, in), where it was taken already that; turned: its rows `half_by_half`."""
        if name in self._weights.codes:
            matrix = self._matrices(name)[0]
            if turned and self._config.rope_interleaved:
                rows = np.arange(matrix.num_rows)
                matrix = matrix.ordered(half_by_half(self._config, rows, head_dim=head_dim))
            return pack_coded(matrix)
        rows = self._weights.take(name) if taken is None else taken
        packed = pack_below(
            [half_by_half(self._config, rows, head_dim=head_dim) if turned else rows],
            self._format,
            self._weights.forget,
        )
        if taken is None:
            self.give_up(name)
        return packed

    def _joined(self, names: Sequence[str]) -> PackedWeight:
        """Matrices below each other; where no one kind of codes holds them all, all become numbers."""
        if all(name in self._weights.codes for name in names):
            joined = stacked([self._matrices(name)[0] for name in names])
            if joined is not None:
                return pack_coded(joined)
        packed = pack_below([self.plain(name) for name in names], self._format, self._weights.forget)
        for name in names:
            self.give_up(name)
        return packed

    def plain(self, name: str) -> NDArray[Any]:
        """The numbers of a matrix, whatever it is kept as; bfloat16 is uint16."""
        if name not in self._weights.codes:
            return self._weights.take(name)
        matrix = self._matrices(name)[0]
        values = matrix.read(np.arange(matrix.num_rows)).values()
        return np.ascontiguousarray(as_dtype(values, self._weights.dtype))

    def _stack(self, name: str) -> tuple[PackedWeight, ...]:
        """Each expert's matrix; rows of all are prepared alike, so that they are kept alike."""
        if name in self._weights.codes:
            return tuple(pack_coded(one) for one in common(self._matrices(name)))
        taken = self._weights.take(name)
        packed = tuple(pack_below([one], self._format, self._weights.forget) for one in taken)
        self.give_up(name)
        return packed

    def give_up(self, name: str) -> None:
        """A tensor is packed, all of it."""
        self._weights.give_up(name)

    def _matrices(self, name: str) -> list[CodedMatrix]:
        return [source() for source in self._weights.codes[name]]
