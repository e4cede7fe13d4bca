"""Weights of a whole model, packed, and how the library is told of them.

Shapes: D hidden, H heads, K kv_heads, E head_dim, F intermediate, X experts. Vectors are float32.
"""

from collections.abc import Iterator, Sequence
from ctypes import addressof
from dataclasses import dataclass
from enum import IntEnum

from llmkit.kernels.forward_latent import LatentStructs, LatentWeights
from llmkit.kernels.forward_states import StateWeights
from llmkit.kernels.forward_structs import (
    BESIDE_NORMS,
    PROJECTIONS,
    Activation,
    ExpertsStruct,
    LayerStruct,
    NormStruct,
    OwnInputStruct,
    StateStruct,
)
from llmkit.kernels.library import WeightStruct
from llmkit.kernels.memory import Floats
from llmkit.kernels.packed import PackedWeight


class NormKind(IntEnum):
    """Of every norm of a model; numbers as in native/forward.h."""

    RMS = 0
    LAYER = 1


class Residual(IntEnum):
    """What the MLP reads; numbers as in native/forward.h."""

    SERIAL = 0
    """The stream with attention's branch joined."""
    PARALLEL = 1
    """The stream before it, through a norm of its own."""
    PARALLEL_ONE_NORM = 2
    """What attention reads."""


class Scoring(IntEnum):
    """How a router's logits become scores; numbers as in native/forward.h."""

    SOFTMAX = 0
    SIGMOID = 1


@dataclass(frozen=True)
class NormWeights:
    """One norm; the bias is LayerNorm's."""

    weight: Floats
    bias: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class ExpertWeights:
    """A mixture of experts: MLPs of which each token uses `per_token`."""

    router: PackedWeight
    """(X, D); with `shared_gate` one row more, the gate of the shared expert."""
    router_bias: Floats | None = None
    """As long as the router has rows."""
    selection_bias: Floats | None = None
    """(X) added to scores for choosing, not for weighing."""
    gate_up: tuple[PackedWeight, ...]
    """X of (2F, D), the gate's rows first; without gates (F, D)."""
    down: tuple[PackedWeight, ...]
    gate_up_bias: Floats | None = None
    """(X, 2F)."""
    down_bias: Floats | None = None
    """(X, D)."""
    shared_gate_up: PackedWeight | None = None
    """Of the expert that every token uses."""
    shared_down: PackedWeight | None = None
    shared_gate_up_bias: Floats | None = None
    shared_down_bias: Floats | None = None
    shared_gate: bool = False
    """The shared expert counts sigmoid of the router's last row."""
    per_token: int
    scoring: Scoring
    normalised: bool
    """Weights of a token's experts add up to 1, before `scaling`."""
    scaling: float
    num_groups: int = 1
    top_groups: int = 1
    """Groups of experts that a token may use."""
    group_scores: int = 1
    """How many of its best scores make a group's, 1 or 2."""
    weighs_inputs: bool = False
    """Weights multiply what experts read, not what they give; experts are chosen by logits."""
    before_router: NormWeights | None = None
    """With the next three: the shared expert is the layer's MLP and reads what the layer's norm gives, router
    and experts the stream."""
    before_experts: NormWeights | None = None
    after_shared: NormWeights | None = None
    after_experts: NormWeights | None = None
    expert_scales: Floats | None = None
    """(X) of weights."""
    activation: Activation
    limit: float = 0.0
    """Of CLAMPED_SWIGLU."""


@dataclass(frozen=True)
class OwnInputWeights:
    """What a layer adds to the stream of its own embedding (Gemma 4)."""

    gate: PackedWeight
    """(P, D)"""
    projection: PackedWeight
    """(D, P)"""
    norm: NormWeights


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """One layer; a norm that is None is not there."""

    before_attention: NormWeights | None = None
    after_attention: NormWeights | None = None
    before_mlp: NormWeights | None = None
    after_mlp: NormWeights | None = None
    q_norm: NormWeights | None = None
    k_norm: NormWeights | None = None
    q: PackedWeight | None = None
    k: PackedWeight | None = None
    v: PackedWeight | None = None
    o: PackedWeight | None = None
    """None: the layer is an MLP alone."""
    attention_gate: PackedWeight | None = None
    """(H E, D): what each head takes home counts sigmoid of it."""
    state: StateWeights | None = None
    """In place of q, k, v and their gate, or beside them."""
    latent: LatentWeights | None = None
    """In place of v."""
    gate_up: PackedWeight | None = None
    """The gate's rows, then up's; without a gate up's alone. None, and no experts: there is no MLP."""
    down: PackedWeight | None = None
    experts: ExpertWeights | None = None
    """In place of gate_up and down."""
    biases: tuple[Floats | None, ...] = (None,) * len(PROJECTIONS)
    """Of q, k, v, o, gate_up, down and attention_gate."""
    sinks: Floats | None = None
    """(H) scores that take part in the softmax and carry no value."""
    curve: Floats | None = None
    """(4) of XIELU: the square's factor, the exponential's, the line's slope, and its end near 0."""
    window: int = 0
    """Positions that a query sees, its own included; 0: all before it."""
    angles: int = 0
    """Which table of angles turns queries and keys; -1: none."""
    mix_scale: float = 1.0
    feed_scale: float = 1.0
    """What attention's branch and the MLP's are multiplied with."""
    heads: tuple[int, int, int] | None = None
    """kv_heads, head_dim and rotary_dim, where they are not the model's."""
    owner: int | None = None
    """The layer whose keys and values it reads, where it has none."""
    own_input: OwnInputWeights | None = None
    scalar: float = 1.0
    """What the layer leaves is multiplied with it."""

    @property
    def matrices(self) -> Iterator[PackedWeight]:
        """Every packed weight."""
        named = [getattr(self, name) for name in PROJECTIONS]
        if self.experts is not None:
            one = self.experts
            named += [one.router, *one.gate_up, *one.down, one.shared_gate_up, one.shared_down]
        if self.state is not None:
            named += self.state.matrices
        if self.latent is not None:
            named += self.latent.matrices
        if self.own_input is not None:
            named += [self.own_input.gate, self.own_input.projection]
        return (weight for weight in named if weight is not None)


class LayerStructs:
    """Layers as the library reads them; holds all that their addresses point to."""

    def __init__(self, layers: Sequence[LayerWeights], heads: tuple[int, int, int]) -> None:
        """
        Args:
            layers: of a model.
            heads: of those that do not say theirs.
        """
        self._kept: list[object] = [tuple(layers)]
        made = (self._layer(number, layer, heads) for number, layer in enumerate(layers))
        self._structs = (LayerStruct * len(layers))(*made)

    @property
    def address(self) -> int:
        """Of the first."""
        return addressof(self._structs)

    def _layer(self, number: int, layer: LayerWeights, heads: tuple[int, int, int]) -> LayerStruct:
        kv_heads, head_dim, rotary_dim = layer.heads or heads
        norms = ("before_attention", "after_attention", "before_mlp", "after_mlp", "q_norm", "k_norm")
        return LayerStruct(
            *(norm_struct(getattr(layer, name)) for name in norms),
            *(_weight(getattr(layer, name)) for name in PROJECTIONS),
            *map(address_of, layer.biases),
            sinks=address_of(layer.sinks),
            curve=address_of(layer.curve),
            experts=None if layer.experts is None else self._experts(layer.experts),
            state=None if layer.state is None else self._state(layer.state),
            latent=None if layer.latent is None else self._latent(layer.latent),
            own_input=None if layer.own_input is None else self._own_input(layer.own_input),
            window=layer.window,
            angles=layer.angles,
            mix_scale=layer.mix_scale,
            feed_scale=layer.feed_scale,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rotary_dim=rotary_dim,
            owner=number if layer.owner is None else layer.owner,
            scalar=layer.scalar,
        )

    def _own_input(self, own: OwnInputWeights) -> int:
        struct = OwnInputStruct(own.gate.struct, own.projection.struct, norm_struct(own.norm))
        self._kept.append(struct)
        return addressof(struct)

    def _latent(self, latent: LatentWeights) -> int:
        structs = LatentStructs(latent)
        self._kept.append(structs)
        return structs.address

    def _experts(self, experts: ExpertWeights) -> int:
        count = len(experts.gate_up)
        gate_up, down = (
            (WeightStruct * count)(*(one.struct for one in weights))
            for weights in (experts.gate_up, experts.down)
        )
        shared = experts.shared_down
        struct = ExpertsStruct(
            router=experts.router.struct,
            router_bias=address_of(experts.router_bias),
            selection_bias=address_of(experts.selection_bias),
            gate_up=addressof(gate_up),
            down=addressof(down),
            gate_up_bias=address_of(experts.gate_up_bias),
            down_bias=address_of(experts.down_bias),
            shared_gate_up=_weight(experts.shared_gate_up),
            shared_down=_weight(shared),
            shared_gate_up_bias=address_of(experts.shared_gate_up_bias),
            shared_down_bias=address_of(experts.shared_down_bias),
            num_experts=count,
            per_token=experts.per_token,
            intermediate=experts.down[0].num_cols,
            shared_intermediate=0 if shared is None else shared.num_cols,
            shared_gate=experts.shared_gate,
            scoring=experts.scoring,
            normalised=experts.normalised,
            num_groups=experts.num_groups,
            top_groups=experts.top_groups,
            group_scores=experts.group_scores,
            activation=experts.activation,
            weighs_inputs=experts.weighs_inputs,
            **{name: norm_struct(getattr(experts, name)) for name in BESIDE_NORMS},
            expert_scales=address_of(experts.expert_scales),
            scaling=experts.scaling,
            limit=experts.limit,
        )
        self._kept += [gate_up, down, struct]
        return addressof(struct)

    def _state(self, state: StateWeights) -> int:
        matrices, vectors = ("inputs", "gate", "rates", "out"), ("inputs_bias", "taps", "taps_bias", "slopes")
        others = ("steps", "norm", "skips", "scales", "out_bias")
        struct = StateStruct(
            **{name: _weight(getattr(state, name)) for name in matrices},
            **{name: address_of(getattr(state, name)) for name in (*vectors, *others)},
            **vars(state.sizes),
            out_scale=state.out_scale,
        )
        self._kept.append(struct)
        return addressof(struct)


def norm_struct(norm: NormWeights | None) -> NormStruct:
    """How the library is told of a norm, or of none."""
    return NormStruct() if norm is None else NormStruct(address_of(norm.weight), address_of(norm.bias))


def address_of(vector: Floats | None) -> int | None:
    """Where a vector is, which must be kept as long as the library may read it."""
    assert vector is None or vector.flags.c_contiguous
    return None if vector is None else vector.ctypes.data


def _weight(weight: PackedWeight | None) -> WeightStruct:
    return WeightStruct() if weight is None else weight.struct
