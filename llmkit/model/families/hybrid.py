"""Families most of whose layers keep a state of fixed size; the others have attention."""

from llmkit.model.families import stored
from llmkit.model.families.experts import QwenExperts
from llmkit.model.families.falcon_h1 import Multipliers, SideBySide
from llmkit.model.families.family import BIAS, Family, rms, sizes
from llmkit.model.families.mamba import GraniteFeed, MambaLayers, RopeOrNone
from llmkit.model.families.nemotron_h import OneBranchLayers
from llmkit.model.families.parts import (
    Constant,
    Fixed,
    Flag,
    Heads,
    Number,
    Part,
    SpecialIds,
    Training,
    Whole,
    Word,
)
from llmkit.model.families.ranges import Lfm2Experts
from llmkit.model.families.rope import Rope
from llmkit.model.families.scales import GraniteScales
from llmkit.model.families.states import AdjustedWidth, ConvLayers, DeltaLayers

_QWEN_ROPE = Rope(partial=0.25, has_partial=True, of_pictures=("mrope_section", "mrope_interleaved"))


def _qwen(
    kv_heads: int, *, inputs_by_head: bool, mlp_names: tuple[str, ...] = ("intermediate_size",)
) -> tuple[Part, ...]:
    return (
        *sizes(32_768, mlp_names=mlp_names),
        *(Heads(kv_heads=kv_heads, head_dim=256), _QWEN_ROPE, rms()),
        *(BIAS, SpecialIds(), DeltaLayers(inputs_by_head=inputs_by_head)),
        *(Fixed({"qk_norm": "head", "norm_plus_one": True}), Constant({"attn_output_gate": True})),
        Training(ignored=("mtp_num_hidden_layers", "mtp_use_dedicated_embeddings")),
    )


_LFM2 = (
    *(Heads(kv_heads=8, has_head_dim=False), Rope(1_000_000.0), Number("norm_eps", "norm_eps", 1e-5)),
    *(SpecialIds(1, 2, 0), ConvLayers(), Fixed({"qk_norm": "head"})),
)
HYBRID: dict[str, Family] = {
    "qwen3_next": Family(
        "Qwen3NextForCausalLM",
        (*_qwen(2, inputs_by_head=True), QwenExperts(shared=True, normalised=True)),
        stored.EXPERTS,
    ),
    "qwen3_5_text": Family("Qwen3_5ForCausalLM", _qwen(4, inputs_by_head=False)),
    "qwen3_5_moe_text": Family(
        "Qwen3_5MoeForCausalLM",
        (
            *_qwen(2, inputs_by_head=False, mlp_names=("intermediate_size", "moe_intermediate_size")),
            QwenExperts(shared=True, normalised=True),
        ),
        stored.EXPERTS,
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridForCausalLM",
        (
            *(*sizes(2048), Heads(), Rope(), rms(), BIAS, GraniteScales(), SpecialIds(1, 2)),
            *(MambaLayers(), GraniteFeed(), RopeOrNone()),
        ),
        stored.GRANITE_HYBRID,
    ),
    "bamba": Family(
        "BambaForCausalLM",
        (
            *(*sizes(262_144), Heads(kv_heads=8), rms(1e-5), BIAS, SpecialIds(1, 2, 0)),
            Rope(partial=0.5, has_partial=True, dim_key="attn_rotary_emb"),
            *(Flag(("mlp_bias",), "mlp_bias"), MambaLayers(by_index=True)),
            Training({"z_loss_coefficient": 0.0}),
        ),
        stored.BAMBA,
    ),
    "falcon_h1": Family(
        "FalconH1ForCausalLM",
        (
            *(*sizes(8192), Heads(kv_heads=8), Rope(), rms(1e-5), SpecialIds(1, 2, 0)),
            *(SideBySide(), Multipliers()),
            Constant({"attention_bias": False, "mlp_bias": False}),
            Constant({"mamba_proj_bias": False, "projectors_bias": False}),
        ),
        stored.BAMBA,
    ),
    "nemotron_h": Family(
        "NemotronHForCausalLM",
        (
            *(Whole("vocab_size", ("vocab_size",), 131_072), Whole("hidden_size", ("hidden_size",), 4096)),
            *(Whole("intermediate_size", ("intermediate_size",), 21_504), OneBranchLayers()),
            Whole("max_position_embeddings", ("max_position_embeddings",), 4096),
            *(Word("hidden_act", ("mlp_hidden_act",), "relu2"), Flag(("mlp_bias",), "mlp_bias")),
            *(Heads(kv_heads=8, head_dim=128, heads=32), Number("norm_eps", "layer_norm_epsilon", 1e-5)),
            *(SpecialIds(1, 2, 0), Constant({"attention_bias": False, "sliding_window": None})),
            Fixed({"gated_mlp": False, "position": "none"}),
        ),
        stored.NEMOTRON_H,
    ),
    "lfm2": Family(
        "Lfm2ForCausalLM",
        (*sizes(128_000, mlp_names=("block_ff_dim", "intermediate_size")), *_LFM2, AdjustedWidth()),
        stored.LFM2,
        tied=True,
    ),
    "lfm2_moe": Family(
        "Lfm2MoeForCausalLM", (*sizes(128_000), *_LFM2, Lfm2Experts()), stored.LFM2_MOE, tied=True
    ),
}
"""By model_type."""
