"""Families whose every layer has one MLP, and RMSNorm before or after it."""

from llmkit.model.families import stored
from llmkit.model.families.family import BIAS, NO_DROPOUT, QKV_AND_O, Family, rms, sizes
from llmkit.model.families.hunyuan import HUNYUAN
from llmkit.model.families.parts import Constant, Fixed, Flag, Heads, Number, SpecialIds, Training
from llmkit.model.families.rope import AlphaRope, Rope, RopeByKind, ScaledQueryRope
from llmkit.model.families.scales import GraniteScales, QueryScalar, RootOfWidth
from llmkit.model.families.windows import NoRopeLayers, PositionsOfWindows, Windows
from llmkit.model.layer_kinds import after_max_window_layers, every, exaone4, one_window, smollm3

_QWEN_WINDOWS = Windows(after_max_window_layers, has_switch=True, has_max_window_layers=True)
_GEMMA_SIZES = sizes(8192, "gelu_pytorch_tanh", ("hidden_activation", "hidden_act"))
_GEMMA = (
    rms(),
    BIAS,
    RootOfWidth(),
    Fixed({"norm_plus_one": True}),
    Constant({"use_bidirectional_attention": False}),
)
_SOFTCAPS = (
    Number("attn_logit_softcapping", "attn_logit_softcapping", 50.0, null_is_none=True),
    Number("final_logit_softcapping", "final_logit_softcapping", 30.0, null_is_none=True),
)

_MINISTRAL = {
    **{"rope_type": "yarn", "rope_theta": 1_000_000.0, "factor": 16.0, "beta_fast": 32.0, "beta_slow": 1.0},
    **{"original_max_position_embeddings": 16_384, "mscale": 1.0, "mscale_all_dim": 1.0},
}
_APERTUS = {
    **{"rope_type": "llama3", "rope_theta": 12_000_000.0, "factor": 8.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
}
_GLM = (
    *(*sizes(131_072), Heads(kv_heads=2, head_dim=128), Rope(partial=0.5, has_partial=True), rms(1.5625e-7)),
    Flag(("attention_bias",), "attention_bias", True),
    SpecialIds(None, (151_329, 151_336, 151_338), 151_329),
)
DENSE: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM",
        (*sizes(2048), Heads(), Rope(), rms(), BIAS, Flag(("mlp_bias",), "mlp_bias"), SpecialIds(1, 2)),
    ),
    "mistral": Family(
        "MistralForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=8), Rope(), rms(), SpecialIds(1, 2)),
            Windows(one_window(4096), has_layer_types=False),
        ),
    ),
    "ministral3": Family(
        "Ministral3ForCausalLM",
        (
            *sizes(262_144),
            *(Heads(kv_heads=8, head_dim=128), ScaledQueryRope(1e6, scaling=_MINISTRAL), rms(1e-5)),
            *(SpecialIds(1, 2, 11), Windows(one_window(None), has_layer_types=False)),
        ),
    ),
    "qwen2": Family(
        "Qwen2ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=32), Rope(), rms(), SpecialIds(), _QWEN_WINDOWS),
            *(Fixed({"attention_bias": True}), Training(ignored=("attention_bias",))),
        ),
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=32, head_dim=128), Rope(), rms(), BIAS, SpecialIds()),
            *(_QWEN_WINDOWS, Fixed({"qk_norm": "head"})),
        ),
    ),
    "gemma": Family(
        "GemmaForCausalLM",
        (
            *sizes(
                8192, "gelu_pytorch_tanh", act_meanings={"gelu": "gelu_pytorch_tanh"}
            ),  # as it was trained
            Heads(16, 256),
            Rope(),
            *_GEMMA,
            SpecialIds(2, 1, 0),
            Training(ignored=("hidden_activation",)),
        ),
        tied=True,
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        (
            *(
                *_GEMMA_SIZES,
                Heads(4, 256, heads=8),
                Rope(),
                *_GEMMA,
                *_SOFTCAPS,
                QueryScalar(),
                SpecialIds(2, 1, 0),
            ),
            *(
                Windows(every(2, 4096)),
                Fixed({"norm_placement": "both"}),
                Training(ignored=("cache_implementation",)),
            ),
        ),
        tied=True,
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        (
            *(
                *sizes(131_072, "gelu_pytorch_tanh", ("hidden_activation", "hidden_act"), vocab_size=262_208),
                Heads(4, 256, heads=8),
                RopeByKind(1_000_000.0, 10_000.0, "rope_local_base_freq"),
                *_GEMMA,
            ),
            Constant({"attn_logit_softcapping": None}),  # the class reads it, and never caps with it
            Number("final_logit_softcapping", "final_logit_softcapping", None),
            *(QueryScalar(), SpecialIds(2, 1, 0), Windows(every(6, 4096, "sliding_window_pattern"))),
            Fixed({"norm_placement": "both", "qk_norm": "head"}),
        ),
        tied=True,
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        (
            *(*sizes(4096), Heads(has_head_dim=False), Rope(has_partial=True, original=4096), rms(1e-5)),
            *(SpecialIds(1, 32000, 32000), Windows(one_window(None), has_layer_types=False)),
            Training(NO_DROPOUT, ignored=("attention_bias", "embed_dropout", "interpolate_factor")),
        ),
        stored.PHI3,
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), Rope(), rms(1e-5), BIAS, SpecialIds(None, 50279, 1)),
            Fixed({"qk_norm": "projection", "norm_placement": "after"}),
        ),
    ),
    "olmo3": Family(
        "Olmo3ForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), RopeByKind(500_000.0, 500_000.0), rms(1e-5), BIAS),
            *(SpecialIds(None, 50279, 1), Windows(every(4, 4096))),
            Fixed({"qk_norm": "projection", "norm_placement": "after"}),
        ),
    ),
    "smollm3": Family(
        "SmolLM3ForCausalLM",
        (
            *(*sizes(32_768), Heads(kv_heads=4), Rope(2_000_000.0), rms(), BIAS),
            *(Flag(("mlp_bias",), "mlp_bias"), SpecialIds(128_000, 128_001, 128_004)),
            *(NoRopeLayers(), Windows(smollm3, has_switch=True), Training(ignored=("max_window_layers",))),
        ),
        tied=True,
    ),
    "granite": Family(
        "GraniteForCausalLM",
        (
            *(*sizes(2048), Heads(has_head_dim=False), Rope(), rms(), BIAS, Flag(("mlp_bias",), "mlp_bias")),
            *(GraniteScales(), SpecialIds(1, 2)),
        ),
    ),
    "hunyuan_v1_dense": Family(
        "HunYuanDenseV1ForCausalLM",
        (
            *(*sizes(2048), Heads(), AlphaRope(), rms(1e-5), BIAS, SpecialIds(1, 2, 0)),
            *HUNYUAN,
        ),
        stored.HUNYUAN,
    ),
    "arcee": Family(
        "ArceeForCausalLM",
        (
            *(*sizes(4096, "relu2"), Heads(), Rope(), rms(1e-5), BIAS, Flag(("mlp_bias",), "mlp_bias")),
            *(SpecialIds(128_000, 128_001), Fixed({"gated_mlp": False})),
        ),
    ),
    "apertus": Family(
        "ApertusForCausalLM",
        (
            *(*sizes(65_536, "xielu"), Heads(), Rope(12_000_000.0, scaling=_APERTUS), rms(1e-5), BIAS),
            *(SpecialIds(1, 2, 3), Fixed({"gated_mlp": False, "qk_norm": "head"})),
            Constant({"qk_norm": True, "post_norm": False, "mlp_bias": False}),
            Training(ignored=("hidden_dropout",)),
        ),
        stored.APERTUS,
    ),
    "seed_oss": Family(
        "SeedOssForCausalLM",
        (
            *(*sizes(524_288), Heads(kv_heads=8, head_dim=128), Rope(), rms(), SpecialIds(0, 2, 1)),
            *(
                Flag(("attention_bias",), "attention_bias", True),
                Flag(("output_bias",), "attention_out_bias"),
            ),
            *(Flag(("mlp_bias",), "mlp_bias"), Training({"residual_dropout": 0.0})),
        ),
    ),
    "helium": Family(
        "HeliumForCausalLM",
        (
            *(
                *sizes(4096),
                Heads(kv_heads=20, head_dim=128),
                Rope(100_000.0),
                rms(1e-8),
                SpecialIds(1, 2, 3),
            ),
            *(Flag(("attention_bias",), "attention_bias"), Flag(("mlp_bias",), "mlp_bias")),
            Fixed({"rope_interleaved": True}),
        ),
    ),
    "ernie4_5": Family(
        "Ernie4_5ForCausalLM",
        (
            *(*sizes(131_072), Heads(kv_heads=2, head_dim=128), Rope(500_000.0), rms(1e-5)),
            *(Flag((*QKV_AND_O, "mlp_bias"), "use_bias"), SpecialIds(1, 2, 0)),
            Fixed({"rope_interleaved": True}),
        ),
        tied=True,
    ),
    "glm": Family("GlmForCausalLM", (*_GLM, Fixed({"rope_interleaved": True})), stored.GLM),
    "glm4": Family(
        "Glm4ForCausalLM",
        (*_GLM, Fixed({"rope_interleaved": True, "norm_placement": "both"})),
        stored.GLM4,
    ),
    "exaone4": Family(
        "Exaone4ForCausalLM",
        (
            *(*sizes(2048), Heads(kv_heads=32), Rope(), rms(1e-5), SpecialIds(0, 2)),
            *(Windows(exaone4), PositionsOfWindows(always=False)),
            Fixed({"qk_norm": "head", "norm_placement": "after"}),
        ),
    ),
}
"""By model_type."""
