"""A model's weights packed for the kernels.

Weights are kept as they are (float32, bfloat16, or the codes of a quantised file) or rounded to 8 or 4 bits
in groups of 32, as GGUF's Q8_0 and Q4_0. A router stays float32 whatever the rest is: a rounding error there
is another expert.
Shapes: D hidden, H heads of one kind, E head_dim, R rotary_dim, F intermediate, X experts.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llmkit.engine.native_parts import ACTIVATIONS
from llmkit.engine.native_vectors import added_positions, angles_of, norm_of, sizes_of, vector
from llmkit.kernels.coded import CodedMatrix, common, stacked
from llmkit.kernels.elementwise import Activation
from llmkit.kernels.forward import Embedding, NativeModel
from llmkit.kernels.forward_weights import (
    ExpertWeights,
    LayerWeights,
    Scoring,
)
from llmkit.kernels.grouped import pack_coded
from llmkit.kernels.memory import Floats, Rows, ValueType
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.coded_weights import CodedWeights, Source
from llmkit.model.config import ModelConfig
from llmkit.model.mapped import FileMappings
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


def pack_model(
    model: Transformer,
    packed_format: PackedFormat | None = None,
    *,
    release: bool = False,
    coded: CodedWeights | None = None,
) -> NativeModel:
    """A model's weights as the kernels read them.

    Args:
        model: one that `runs_natively`.
        packed_format: INT8 or INT4 to round to; None keeps the weights as they are.
        release: give up the model's own weights matrix by matrix, so that memory holds them once; the model
            can compute nothing afterwards, but its embedding stays.
        coded: what `load_model` left out of it; these matrices run as the codes they are stored as.
    """
    decoder = model.model
    if packed_format is None:
        packed_format = _FORMATS[decoder.embed_tokens.weight.dtype]
    sources = {} if coded is None else coded.sources
    packer = _Packer(
        model.config,
        packed_format,
        {id(one): sources[name] for name, one in model.named_parameters() if name in sources},
        release=release,
    )
    head, head_bias = packer.pack(model.lm_head.weight), vector(model.lm_head.bias)
    if release and isinstance(model.lm_head, nn.Linear):
        packer.give_up(model.lm_head)
    tokens = decoder.embed_tokens.weight
    looked_up: Rows | PackedWeight
    if not tokens.is_meta:
        looked_up = _rows(tokens.detach())
    else:
        looked_up = head if model.config.tie_word_embeddings else packer.pack(tokens)
        decoder.embed_tokens.weight = nn.Parameter(torch.empty(0, dtype=tokens.dtype), requires_grad=False)
    embedding = Embedding(looked_up, added_positions(decoder.embed_positions))
    layers = [packer.layer(block, number) for number, block in enumerate(decoder.layers)]
    last_norm = norm_of(decoder.norm)
    assert last_norm is not None
    sizes = replace(sizes_of(model.config, tokens.dtype), vocabulary=head.num_rows)  # of a part fewer
    return NativeModel(sizes, embedding, layers, last_norm, head, head_bias)


class _Packer:
    """Packs the matrices of a model one after the other."""

    def __init__(
        self,
        config: ModelConfig,
        packed_format: PackedFormat,
        coded: dict[int, list[Source]],
        *,
        release: bool,
    ) -> None:
        self._config = config
        self._format = packed_format
        self._coded = coded
        self._release = release
        self._mappings = FileMappings()

    def layer(self, block: Any, number: int) -> LayerWeights:
        """A layer's weights."""
        config, attention = self._config, block.self_attn
        before, after, before_mlp, after_mlp = (
            norm_of(getattr(block, name, None) if name else None) for name in _NORMS[config.norm_placement]
        )
        feed, feed_biases = self._feed(block.mlp)
        rotated = (attention.q_proj, attention.k_proj)
        packed = LayerWeights(
            before_attention=before,
            after_attention=after,
            before_mlp=before_mlp,
            after_mlp=after_mlp,
            q_norm=norm_of(attention.q_norm, self._half_by_half),
            k_norm=norm_of(attention.k_norm, self._half_by_half),
            q=self.pack(attention.q_proj.weight, self._half_by_half),
            k=self.pack(attention.k_proj.weight, self._half_by_half),
            v=self.pack(attention.v_proj.weight),
            o=self.pack(attention.o_proj.weight),
            **feed,
            biases=(
                *(vector(linear.bias, self._half_by_half) for linear in rotated),
                *(vector(linear.bias) for linear in (attention.v_proj, attention.o_proj)),
                *feed_biases,
            ),
            sinks=vector(attention.sinks),
            window=(config.sliding_window or 0) if number in config.sliding_layers else 0,
            angles=angles_of(config, number),
        )
        if self._release:
            for linear in (*rotated, attention.v_proj, attention.o_proj):
                self.give_up(linear)
        return packed

    def _half_by_half(self, rows: Tensor) -> Tensor:
        return half_by_half(self._config, rows)

    def _feed(self, mlp: Any) -> tuple[dict[str, Any], tuple[Floats | None, Floats | None]]:
        """What a layer has behind attention, and the biases of a plain MLP."""
        if hasattr(mlp, "experts"):
            return {"experts": self._experts(mlp)}, (None, None)
        gate_up, down, *biases = self._mlp(mlp)
        return {"gate_up": gate_up, "down": down}, (biases[0], biases[1])

    def _mlp(self, mlp: Any) -> tuple[PackedWeight, PackedWeight, Floats | None, Floats | None]:
        """The gate and up as one matrix, down, and the biases of both."""
        inner = [mlp.gate_proj, mlp.up_proj] if hasattr(mlp, "gate_proj") else [mlp.up_proj]
        bias = None if inner[0].bias is None else torch.cat([one.bias for one in inner])
        packed = (
            self._joined([one.weight for one in inner]),
            self.pack(mlp.down_proj.weight),
            vector(bias),
            vector(mlp.down_proj.bias),
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
            router_bias=vector(bias),
            selection_bias=vector(router.e_score_correction_bias),
            gate_up=self._stack(experts.gate_up_proj),
            down=self._stack(experts.down_proj),
            gate_up_bias=vector(experts.gate_up_proj_bias),
            down_bias=vector(experts.down_proj_bias),
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
            for stack in (experts.gate_up_proj, experts.down_proj):
                if not stack.is_meta:
                    self._mappings.forget_pages(stack)
            experts.gate_up_proj = experts.down_proj = nn.Parameter(torch.empty(0), requires_grad=False)
        return packed

    def pack(self, weight: Tensor, order: Callable[[Tensor], Tensor] | None = None) -> PackedWeight:
        """weight: (out, in); order: puts its rows in another order."""
        if not weight.is_meta:
            return _packed(weight if order is None else order(weight), self._format)
        matrix = self._matrices(weight)[0]
        if order is not None:
            matrix = matrix.ordered(order(torch.arange(matrix.num_rows)[:, None])[:, 0].numpy())
        return pack_coded(matrix)

    def _joined(self, weights: list[Tensor]) -> PackedWeight:
        """Matrices below each other; where no one kind of codes holds them all, all become numbers."""
        if all(one.is_meta for one in weights):
            joined = stacked([self._matrices(one)[0] for one in weights])
            if joined is not None:
                return pack_coded(joined)
        plain = [self._plain(one) if one.is_meta else one for one in weights]
        return _packed(torch.cat(plain) if len(plain) > 1 else plain[0], self._format)

    def _plain(self, weight: Tensor) -> Tensor:
        matrix = self._matrices(weight)[0]
        return torch.from_numpy(matrix.read(np.arange(matrix.num_rows)).values()).to(weight.dtype)

    def _stack(self, stack: Tensor) -> tuple[PackedWeight, ...]:
        """Each expert's matrix; rows of all are prepared alike, so that they are kept alike."""
        if not stack.is_meta:
            return tuple(self.pack(one) for one in stack)
        return tuple(pack_coded(one) for one in common(self._matrices(stack)))

    def _matrices(self, weight: Tensor) -> list[CodedMatrix]:
        return [source() for source in self._coded[id(weight)]]

    def give_up(self, linear: nn.Linear) -> None:
        """Free a matrix; of one that is mapped from a file, the pages."""
        if not linear.weight.is_meta:
            self._mappings.forget_pages(linear.weight)
        linear.weight = nn.Parameter(torch.empty(0), requires_grad=False)


def half_by_half(config: ModelConfig, rows: Tensor) -> Tensor:
    """Rows of queries or keys, (H * E, ...) or one head's: pairs that stand side by side put apart.

    The kernels turn pairs that are half a head apart. Queries and keys are reordered alike, so that scores do
    not change.
    """
    E, R = config.head_dim, config.rotary_dim
    if not config.rope_interleaved:
        return rows
    order = torch.cat((torch.arange(0, R, 2), torch.arange(1, R, 2), torch.arange(R, E)))
    return rows.detach().unflatten(0, (-1, E))[:, order].flatten(0, 1)


def _packed(weight: Tensor, packed_format: PackedFormat) -> PackedWeight:
    return pack(_rows(weight.detach()), packed_format)


def _rows(weight: Tensor) -> Rows:
    count, cols = weight.shape
    return Rows(weight.data_ptr(), count, cols, weight.stride(0), _TYPES[weight.dtype], weight)
