"""How files keep a family's tensors, where they do not keep them as the model has them. No torch.

Names of modules; `*` stands for the number of the layer, `#` for that of an expert. The tensors `.weight` and
`.bias` of a module are kept in the same way, but that a bias is never turned.
"""

from dataclasses import dataclass
from typing import Literal

How = Literal[
    "same",
    "row",
    "turned",
    "joined",
    "joined_turned",
    "joined_by_head",
    "experts",
    "stack_turned",
    "stack_in_turns",
]
"""
same: under another name.
row: as a matrix of one row.
turned: as (in, out), GPT-2's way.
joined: our matrices below each other; joined_turned: and then turned.
joined_by_head: the first head's rows of each of ours, then the second's, and so on (GPT-NeoX).
experts: one matrix for each expert and each of ours; gate and up are one of ours, the gate's rows first.
stack_turned: a stack of all experts as (experts, in, out); stack_in_turns: and a row of the gate and one
of up in turns (gpt-oss).
"""


@dataclass(frozen=True)
class Stored:
    """Some of the model's modules, and those of the file that hold them."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    how: How = "same"


def renamed(ours: str, theirs: str, how: How = "same") -> Stored:
    """One module under another name."""
    return Stored((ours,), (theirs,), how)


_LAYER = "model.layers.*"
_QKV = tuple(f"{_LAYER}.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj"))
_GATE_UP = (f"{_LAYER}.mlp.gate_proj", f"{_LAYER}.mlp.up_proj")

GPT2 = (
    renamed("model.embed_tokens", "transformer.wte"),
    renamed("model.embed_positions", "transformer.wpe"),
    renamed("model.norm", "transformer.ln_f"),
    renamed(f"{_LAYER}.input_layernorm", "transformer.h.*.ln_1"),
    renamed(f"{_LAYER}.post_attention_layernorm", "transformer.h.*.ln_2"),
    Stored(_QKV, ("transformer.h.*.attn.c_attn",), "joined_turned"),
    renamed(f"{_LAYER}.self_attn.o_proj", "transformer.h.*.attn.c_proj", "turned"),
    renamed(f"{_LAYER}.mlp.up_proj", "transformer.h.*.mlp.c_fc", "turned"),
    renamed(f"{_LAYER}.mlp.down_proj", "transformer.h.*.mlp.c_proj", "turned"),
)
GPT_NEOX = (
    renamed("model.embed_tokens", "gpt_neox.embed_in"),
    renamed("model.norm", "gpt_neox.final_layer_norm"),
    renamed("lm_head", "embed_out"),
    renamed(f"{_LAYER}.input_layernorm", "gpt_neox.layers.*.input_layernorm"),
    renamed(f"{_LAYER}.post_attention_layernorm", "gpt_neox.layers.*.post_attention_layernorm"),
    Stored(_QKV, ("gpt_neox.layers.*.attention.query_key_value",), "joined_by_head"),
    renamed(f"{_LAYER}.self_attn.o_proj", "gpt_neox.layers.*.attention.dense"),
    renamed(f"{_LAYER}.mlp.up_proj", "gpt_neox.layers.*.mlp.dense_h_to_4h"),
    renamed(f"{_LAYER}.mlp.down_proj", "gpt_neox.layers.*.mlp.dense_4h_to_h"),
)
PHI3 = (
    Stored(_QKV, (f"{_LAYER}.self_attn.qkv_proj",), "joined"),
    Stored(_GATE_UP, (f"{_LAYER}.mlp.gate_up_proj",), "joined"),
)
HUNYUAN = tuple(
    renamed(f"{_LAYER}.self_attn.{ours}", f"{_LAYER}.self_attn.{theirs}")
    for ours, theirs in (("q_norm", "query_layernorm"), ("k_norm", "key_layernorm"))
)
APERTUS = (
    renamed(f"{_LAYER}.input_layernorm", f"{_LAYER}.attention_layernorm"),
    renamed(f"{_LAYER}.post_attention_layernorm", f"{_LAYER}.feedforward_layernorm"),
)
GLM = (PHI3[1],)
GLM4 = (
    *GLM,
    renamed(f"{_LAYER}.post_attention_layernorm", f"{_LAYER}.post_self_attn_layernorm"),
    renamed(f"{_LAYER}.pre_feedforward_layernorm", f"{_LAYER}.post_attention_layernorm"),
    renamed(f"{_LAYER}.post_feedforward_layernorm", f"{_LAYER}.post_mlp_layernorm"),
)
PHI = (
    renamed("model.norm", "model.final_layernorm"),
    renamed(f"{_LAYER}.self_attn.o_proj", f"{_LAYER}.self_attn.dense"),
    renamed(f"{_LAYER}.mlp.up_proj", f"{_LAYER}.mlp.fc1"),
    renamed(f"{_LAYER}.mlp.down_proj", f"{_LAYER}.mlp.fc2"),
)
STARCODER2 = (
    renamed(f"{_LAYER}.mlp.up_proj", f"{_LAYER}.mlp.c_fc"),
    renamed(f"{_LAYER}.mlp.down_proj", f"{_LAYER}.mlp.c_proj"),
)
EXPERTS = (
    Stored(
        (f"{_LAYER}.mlp.experts.gate_up_proj",),
        (f"{_LAYER}.mlp.experts.#.gate_proj", f"{_LAYER}.mlp.experts.#.up_proj"),
        "experts",
    ),
    renamed(f"{_LAYER}.mlp.experts.down_proj", f"{_LAYER}.mlp.experts.#.down_proj", "experts"),
)
DEEPSEEK = (
    *EXPERTS,
    *(
        renamed(f"{_LAYER}.mlp.shared_expert.{name}", f"{_LAYER}.mlp.shared_experts.{name}")
        for name in ("gate_proj", "up_proj", "down_proj")
    ),
)
HUNYUAN_MOE = (
    *HUNYUAN,
    *EXPERTS,
    renamed(f"{_LAYER}.mlp.gate", f"{_LAYER}.mlp.gate.wg"),
    *(
        renamed(f"{_LAYER}.mlp.shared_expert.{name}", f"{_LAYER}.mlp.shared_mlp.{name}")
        for name in ("gate_proj", "up_proj", "down_proj")
    ),
)
_MIXTRAL = f"{_LAYER}.block_sparse_moe"
MIXTRAL = (
    renamed(f"{_LAYER}.mlp.gate", f"{_MIXTRAL}.gate"),
    Stored(
        (f"{_LAYER}.mlp.experts.gate_up_proj",),
        (f"{_MIXTRAL}.experts.#.w1", f"{_MIXTRAL}.experts.#.w3"),
        "experts",
    ),
    renamed(f"{_LAYER}.mlp.experts.down_proj", f"{_MIXTRAL}.experts.#.w2", "experts"),
)
_BIAS_FOR_CHOOSING = f"{_LAYER}.mlp.gate.e_score_correction"
"""Without its last `_bias`, which names of stacks are looked up without."""
MINIMAX = (*MIXTRAL, renamed(_BIAS_FOR_CHOOSING, f"{_MIXTRAL}.e_score_correction"))
ERNIE = (*DEEPSEEK, renamed(_BIAS_FOR_CHOOSING, f"{_LAYER}.mlp.moe_statics.e_score_correction", "row"))
GRANITE_MOE = (
    renamed(f"{_LAYER}.mlp.gate", f"{_MIXTRAL}.router.layer"),
    renamed(f"{_LAYER}.mlp.experts.gate_up_proj", f"{_MIXTRAL}.input_linear.weight"),
    renamed(f"{_LAYER}.mlp.experts.down_proj", f"{_MIXTRAL}.output_linear.weight"),
)
_GRANITE_SHARED = f"{_LAYER}.shared_mlp"
GRANITE_HYBRID = (
    *GRANITE_MOE,
    *(
        one
        for ours in (f"{_LAYER}.mlp", f"{_LAYER}.mlp.shared_expert")  # without experts, and with some
        for one in (
            Stored((f"{ours}.gate_proj", f"{ours}.up_proj"), (f"{_GRANITE_SHARED}.input_linear",), "joined"),
            renamed(f"{ours}.down_proj", f"{_GRANITE_SHARED}.output_linear"),
        )
    ),
)
_FEED = f"{_LAYER}.feed_forward"
BAMBA = (
    renamed("model.norm", "model.final_layernorm"),
    renamed(f"{_LAYER}.post_attention_layernorm", f"{_LAYER}.pre_ff_layernorm"),
    *(renamed(f"{_LAYER}.mlp.{x}_proj", f"{_FEED}.{x}_proj") for x in ("gate", "up", "down")),
)
_LFM2_NAMES = (
    *(("model.norm", "model.embedding_norm"), (f"{_LAYER}.input_layernorm", f"{_LAYER}.operator_norm")),
    *((f"{_LAYER}.post_attention_layernorm", f"{_LAYER}.ffn_norm"),),
    *((f"{_LAYER}.self_attn.{x}_norm", f"{_LAYER}.self_attn.{x}_layernorm") for x in "qk"),
    (f"{_LAYER}.self_attn.o_proj", f"{_LAYER}.self_attn.out_proj"),
    *(
        (f"{_LAYER}.mlp.{ours}_proj", f"{_LAYER}.feed_forward.{theirs}")
        for ours, theirs in (("gate", "w1"), ("down", "w2"), ("up", "w3"))
    ),
)
LFM2 = tuple(renamed(ours, theirs) for ours, theirs in _LFM2_NAMES)
_LFM2_EXPERTS = f"{_LAYER}.feed_forward"
LFM2_MOE = (
    *LFM2,
    renamed(f"{_LAYER}.mlp.gate", f"{_LFM2_EXPERTS}.gate"),
    renamed(_BIAS_FOR_CHOOSING, f"{_LFM2_EXPERTS}.expert"),
    Stored(
        (f"{_LAYER}.mlp.experts.gate_up_proj",),
        (f"{_LFM2_EXPERTS}.experts.#.w1", f"{_LFM2_EXPERTS}.experts.#.w3"),
        "experts",
    ),
    renamed(f"{_LAYER}.mlp.experts.down_proj", f"{_LFM2_EXPERTS}.experts.#.w2", "experts"),
)
LLAMA4 = (
    *(renamed(f"{_LAYER}.mlp.{x}_proj", f"{_FEED}.{x}_proj") for x in ("gate", "up", "down")),
    renamed(f"{_LAYER}.mlp.gate", f"{_FEED}.router"),
    *(
        renamed(f"{_LAYER}.mlp.shared_expert.{x}_proj", f"{_FEED}.shared_expert.{x}_proj")
        for x in ("gate", "up", "down")
    ),
    *(
        renamed(f"{_LAYER}.mlp.experts.{x}_proj", f"{_FEED}.experts.{x}_proj", "stack_turned")
        for x in ("gate_up", "down")
    ),
)
_OWN = {"embed_tokens": "embed_tokens_per_layer", "projection": "per_layer_model_projection"}
GEMMA4 = (
    *(renamed(f"model.own_inputs.{ours}", f"model.{theirs}") for ours, theirs in _OWN.items()),
    renamed("model.own_inputs.norm", "model.per_layer_projection_norm"),
    renamed(f"{_LAYER}.own_input.gate", f"{_LAYER}.per_layer_input_gate"),
    renamed(f"{_LAYER}.own_input.projection", f"{_LAYER}.per_layer_projection"),
    renamed(f"{_LAYER}.own_input.norm", f"{_LAYER}.post_per_layer_input_norm"),
    renamed(f"{_LAYER}.mlp.gate", f"{_LAYER}.router.proj"),
    renamed(f"{_LAYER}.mlp.gate.scale", f"{_LAYER}.router.scale"),
    renamed(f"{_LAYER}.mlp.gate.per_expert_scale", f"{_LAYER}.router.per_expert_scale"),
    *(renamed(f"{_LAYER}.mlp.experts.{x}_proj", f"{_LAYER}.experts.{x}_proj") for x in ("gate_up", "down")),
    *(
        renamed(f"{_LAYER}.mlp.shared_expert.{x}_proj", f"{_LAYER}.mlp.{x}_proj")
        for x in ("gate", "up", "down")
    ),
    renamed(f"{_LAYER}.mlp.norm_read", f"{_LAYER}.pre_feedforward_layernorm_2"),
    renamed(f"{_LAYER}.mlp.norm_mlp", f"{_LAYER}.post_feedforward_layernorm_1"),
    renamed(f"{_LAYER}.mlp.norm_experts", f"{_LAYER}.post_feedforward_layernorm_2"),
)
GPT_OSS = (
    renamed(f"{_LAYER}.mlp.gate", f"{_LAYER}.mlp.router"),
    renamed(f"{_LAYER}.mlp.experts.gate_up_proj", f"{_LAYER}.mlp.experts.gate_up_proj", "stack_in_turns"),
    renamed(f"{_LAYER}.mlp.experts.down_proj", f"{_LAYER}.mlp.experts.down_proj", "stack_turned"),
)
_NEMOTRON_H = (
    *(("model.embed_tokens", "backbone.embeddings"), ("model.norm", "backbone.norm_f")),
    *(
        (f"{_LAYER}.input_layernorm", "backbone.layers.*.norm"),
        (f"{_LAYER}.mamba", "backbone.layers.*.mixer"),
    ),
    *(
        (f"{_LAYER}.{branch}.{name}", f"backbone.layers.*.mixer.{name}")
        for branch, names in (
            ("mamba", ("in_proj", "conv1d", "norm", "out_proj")),
            ("self_attn", ("q_proj", "k_proj", "v_proj", "o_proj")),
            ("mlp", ("up_proj", "down_proj")),
        )
        for name in names
    ),
)
_NEMOTRON_MIXER = "backbone.layers.*.mixer"
NEMOTRON_H = (
    *(renamed(ours, theirs) for ours, theirs in _NEMOTRON_H),
    renamed(f"{_LAYER}.mlp.gate", f"{_NEMOTRON_MIXER}.gate"),
    renamed(_BIAS_FOR_CHOOSING, f"{_NEMOTRON_MIXER}.gate.e_score_correction"),
    *(
        one
        for x in ("up", "down")
        for one in (
            renamed(f"{_LAYER}.mlp.shared_expert.{x}_proj", f"{_NEMOTRON_MIXER}.shared_experts.{x}_proj"),
            renamed(f"{_LAYER}.mlp.experts.{x}_proj", f"{_NEMOTRON_MIXER}.experts.#.{x}_proj", "experts"),
        )
    ),
)
