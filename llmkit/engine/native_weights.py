"""A model's weights packed for the kernels.

Weights are kept as they are (float32, bfloat16) or rounded to 8 or 4 bits in groups of 32, as GGUF's Q8_0 and
Q4_0. A router stays float32 whatever the rest is: a rounding error there is another expert.
Shapes: D hidden, H heads of one kind, E head_dim, R rotary_dim, F intermediate, X experts.
"""

from typing import Any

import torch
from torch import Tensor, nn

from llmkit.engine.native_parts import ACTIVATIONS
from llmkit.kernels.elementwise import Activation
from llmkit.kernels.forward import Embedding, NativeModel, Sizes
from llmkit.kernels.forward_weights import (
    ExpertWeights,
    LayerWeights,
    NormKind,
    NormWeights,
    Residual,
    Scoring,
)
from llmkit.kernels.memory import Floats, Rows, ValueType
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.config import ModelConfig
from llmkit.model.mapped import forget_pages
from llmkit.model.norm import RMSNorm
from llmkit.model.positions import SinusoidalPositions
from llmkit.model.transformer import Transformer

_TYPES = {torch.float32: ValueType.FLOAT32, torch.bfloat16: ValueType.BFLOAT16}
_FORMATS = {torch.float32: PackedFormat.FLOAT32, torch.bfloat16: PackedFormat.BFLOAT16}
_NORMS = {  # of a layer, before and after attention, before and after the MLP
    "before": ("input_layernorm", None, "post_attention_layernorm", None),
    "after": (None, "post_attention_layernorm", None, "post_feedforward_layernorm"),
    "both": (
        *("input_layernorm", "post_attention_layernorm"),
        *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
}
_RESIDUALS = {
    "serial": Residual.SERIAL,
    "parallel": Residual.PARALLEL,
    "parallel_one_norm": Residual.PARALLEL_ONE_NORM,
}


def pack_model(
    model: Transformer, packed_format: PackedFormat | None = None, *, release: bool = False
) -> NativeModel:
    """A model's weights as the kernels read them.

    Args:
        model: one that `runs_natively`.
        packed_format: INT8 or INT4 to round to; None keeps the weights as they are.
        release: give up the model's own weights matrix by matrix, so that memory holds them once; the model
            can compute nothing afterwards, but its embedding stays.
    """
    decoder = model.model
    if packed_format is None:
        packed_format = _FORMATS[decoder.embed_tokens.weight.dtype]
    packer = _Packer(model.config, packed_format, release=release)
    head, head_bias = packer.pack(model.lm_head.weight), _vector(model.lm_head.bias)
    if release and isinstance(model.lm_head, nn.Linear):
        packer.give_up(model.lm_head)
    tokens = decoder.embed_tokens.weight.detach()
    embedding = Embedding(_rows(tokens), _added_positions(decoder.embed_positions))
    layers = [packer.layer(block, number) for number, block in enumerate(decoder.layers)]
    last_norm = _norm(decoder.norm)
    assert last_norm is not None
    return NativeModel(_sizes(model.config, tokens.dtype), embedding, layers, last_norm, head, head_bias)


def _added_positions(module: nn.Module | None) -> Floats | None:
    """What positions add to embeddings, (positions, D); None where they rotate."""
    if module is None:
        return None
    table = module.table if isinstance(module, SinusoidalPositions) else module.weight
    assert isinstance(table, Tensor)
    return _vector(table)


def _sizes(config: ModelConfig, dtype: torch.dtype) -> Sizes:
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


class _Packer:
    """Packs the matrices of a model one after the other."""

    def __init__(self, config: ModelConfig, packed_format: PackedFormat, *, release: bool) -> None:
        self._config = config
        self._format = packed_format
        self._release = release

    def layer(self, block: Any, number: int) -> LayerWeights:
        """A layer's weights."""
        config, attention = self._config, block.self_attn
        before, after, before_mlp, after_mlp = (
            _norm(getattr(block, name, None) if name else None) for name in _NORMS[config.norm_placement]
        )
        feed, feed_biases = self._feed(block.mlp)
        rotated = (attention.q_proj, attention.k_proj)
        packed = LayerWeights(
            before_attention=before,
            after_attention=after,
            before_mlp=before_mlp,
            after_mlp=after_mlp,
            q_norm=_norm(attention.q_norm, self._half_by_half),
            k_norm=_norm(attention.k_norm, self._half_by_half),
            q=self.pack(self._half_by_half(attention.q_proj.weight)),
            k=self.pack(self._half_by_half(attention.k_proj.weight)),
            v=self.pack(attention.v_proj.weight),
            o=self.pack(attention.o_proj.weight),
            **feed,
            biases=(
                *(_vector(linear.bias, self._half_by_half) for linear in rotated),
                *(_vector(linear.bias) for linear in (attention.v_proj, attention.o_proj)),
                *feed_biases,
            ),
            sinks=_vector(attention.sinks),
            window=(config.sliding_window or 0) if number in config.sliding_layers else 0,
            angles=_angles(config, number),
        )
        if self._release:
            for linear in (*rotated, attention.v_proj, attention.o_proj):
                self.give_up(linear)
        return packed

    def _half_by_half(self, rows: Tensor) -> Tensor:
        """Rows of queries or keys, (H * E, ...) or one head's: pairs that stand side by side put apart.

        The kernels turn pairs that are half a head apart. Queries and keys are reordered alike, so that
        scores do not change.
        """
        E, R = self._config.head_dim, self._config.rotary_dim
        if not self._config.rope_interleaved:
            return rows
        order = torch.cat((torch.arange(0, R, 2), torch.arange(1, R, 2), torch.arange(R, E)))
        return rows.detach().unflatten(0, (-1, E))[:, order].flatten(0, 1)

    def _feed(self, mlp: Any) -> tuple[dict[str, Any], tuple[Floats | None, Floats | None]]:
        """What a layer has behind attention, and the biases of a plain MLP."""
        if hasattr(mlp, "experts"):
            return {"experts": self._experts(mlp)}, (None, None)
        gate_up, down, *biases = self._mlp(mlp)
        return {"gate_up": gate_up, "down": down}, (biases[0], biases[1])

    def _mlp(self, mlp: Any) -> tuple[PackedWeight, PackedWeight, Floats | None, Floats | None]:
        """The gate and up as one matrix, down, and the biases of both."""
        inner = [mlp.gate_proj, mlp.up_proj] if hasattr(mlp, "gate_proj") else [mlp.up_proj]
        weight = torch.cat([one.weight for one in inner]) if len(inner) > 1 else inner[0].weight
        bias = None if inner[0].bias is None else torch.cat([one.bias for one in inner])
        packed = (
            self.pack(weight),
            self.pack(mlp.down_proj.weight),
            _vector(bias),
            _vector(mlp.down_proj.bias),
        )
        if self._release:
            for linear in (*inner, mlp.down_proj):
                self.give_up(linear)
        return packed

    def _experts(self, moe: Any) -> ExpertWeights:
        """A router and its experts."""
        config = self._config.experts
        assert config is not None
        router, experts = moe.gate, moe.experts
        parts: dict[str, Any] = {}
        if moe.shared_expert is not None:
            names = ("shared_gate_up", "shared_down", "shared_gate_up_bias", "shared_down_bias")
            parts = dict(zip(names, self._mlp(moe.shared_expert), strict=True))
        weight, bias = router.weight, router.bias
        if moe.shared_expert_gate is not None:  # one more row, without a bias
            weight = torch.cat((weight, moe.shared_expert_gate.weight))
            bias = None if bias is None else torch.cat((bias, bias.new_zeros(1)))
        packed = ExpertWeights(
            router=_packed(weight, PackedFormat.FLOAT32),
            router_bias=_vector(bias),
            selection_bias=_vector(router.e_score_correction_bias),
            gate_up=tuple(self.pack(one) for one in experts.gate_up_proj),
            down=tuple(self.pack(one) for one in experts.down_proj),
            gate_up_bias=_vector(experts.gate_up_proj_bias),
            down_bias=_vector(experts.down_proj_bias),
            **parts,
            shared_gate=moe.shared_expert_gate is not None,
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
        if self._release:
            forget_pages(experts.gate_up_proj)
            forget_pages(experts.down_proj)
            experts.gate_up_proj = experts.down_proj = nn.Parameter(torch.empty(0), requires_grad=False)
        return packed

    def pack(self, weight: Tensor) -> PackedWeight:
        """weight: (out, in)."""
        return _packed(weight, self._format)

    def give_up(self, linear: nn.Linear) -> None:
        """Free a matrix; of one that is mapped from a file, the pages."""
        forget_pages(linear.weight)
        linear.weight = nn.Parameter(torch.empty(0), requires_grad=False)


def _packed(weight: Tensor, packed_format: PackedFormat) -> PackedWeight:
    return pack(_rows(weight.detach()), packed_format)


def _rows(weight: Tensor) -> Rows:
    count, cols = weight.shape
    return Rows(weight.data_ptr(), count, cols, weight.stride(0), _TYPES[weight.dtype], weight)


def _angles(config: ModelConfig, layer: int) -> int:
    """Which of the pass's tables of angles a layer uses; -1 for none."""
    if config.position != "rope" or layer in config.no_rope_layers:
        return -1
    return int(layer in config.sliding_layers and config.sliding_rope_theta is not None)


def _norm(module: Any, ordered: Any = lambda vector: vector) -> NormWeights | None:
    """A norm's vectors; Gemma's 1 + weight is added up here."""
    if module is None:
        return None
    weight = _vector(module.factor if isinstance(module, RMSNorm) else module.weight, ordered)
    assert weight is not None
    return NormWeights(weight, _vector(getattr(module, "bias", None), ordered))


def _vector(parameter: Tensor | None, ordered: Any = lambda vector: vector) -> Floats | None:
    if parameter is None:
        return None
    values: Floats = ordered(parameter.detach()).float().contiguous().numpy()
    return values
