"""Names and shapes of a model's own tensors, from its config alone. No torch.

Shapes: D hidden_size, H query heads, F intermediate_size, N experts, V vocab_size.
"""

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config, ShortConvConfig
from llmkit.model.layer_sizes import head_sizes, kv_owner, mlp_width, values_are_keys

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
CONVOLUTIONS = ("conv.weight", "conv1d.weight")
"""Ends of names whose tensors have the dimensions of a stack of matrices, and are none."""
_NORMS = {
    "before": ("input_layernorm", "post_attention_layernorm"),
    "after": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "both": (
        *("input_layernorm", "post_attention_layernorm"),
        *("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
}
_XIELU: Shapes = {"alpha_p": (1,), "alpha_n": (1,), "beta": (), "eps": ()}


def tensor_shapes(config: ModelConfig) -> Shapes:
    """What `Transformer(config).state_dict()` holds, in its order; a test compares them for every family."""
    D, V = config.hidden_size, config.vocab_size
    shapes: Shapes = {"model.embed_tokens.weight": (V, D)}
    if config.position == "learned":
        shapes["model.embed_positions.weight"] = (config.max_position_embeddings, D)
    if (own := config.own_inputs) is not None:
        width = config.num_hidden_layers * own.width
        shapes["model.own_inputs.embed_tokens.weight"] = (own.vocab_size, width)
        shapes |= _inside("model.own_inputs", _linear("projection", width, D))
        shapes |= _inside("model.own_inputs.norm", _norm(config, own.width))
    for layer in range(config.num_hidden_layers):
        shapes |= _inside(f"model.layers.{layer}", _layer(config, layer))
    shapes |= _inside("model.norm", _norm(config, D))
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (V, D)
    if config.head_bias:
        shapes["lm_head.bias"] = (V,)
    return shapes


def branch_norms(config: ModelConfig) -> tuple[str, ...]:
    """Names of a layer's norms around its two branches."""
    one = config.residual == "parallel_one_norm" or config.lone_mlps is not None
    return _NORMS[config.norm_placement][: 1 if one else None]


def mixer_name(config: ModelConfig, layer: int) -> str:
    """What the module of a layer is called by which positions learn of each other, or the MLP that it is. One
    that keeps a state and attends too has `mamba` beside it."""
    if layer in (config.lone_mlps or ()):
        return "mlp"
    if layer not in config.state_layers or config.has_both:
        return "self_attn"
    if config.mamba is not None:
        return "mamba"
    return "linear_attn" if config.delta is not None else "conv"


def _layer(config: ModelConfig, layer: int) -> Shapes:
    D, F, experts = config.hidden_size, mlp_width(config, layer), config.experts
    sparse = experts if experts is not None and layer in experts.layers else None
    mlp = _mlp(config, F) if sparse is None else _experts(config, sparse)
    name = mixer_name(config, layer)
    shapes = _inside(name, mlp if name == "mlp" else _mixer(config, layer))
    if config.has_both and config.mamba is not None and layer in config.mamba.layers:
        shapes |= _inside("mamba", _mamba2(config, config.mamba))
    if config.lone_mlps is None:
        shapes |= _inside("mlp", mlp)
    for name in branch_norms(config):
        shapes |= _inside(name, _norm(config, D))
    if (own := config.own_inputs) is not None:
        shapes |= _inside("own_input", _linear("gate", own.width, D) | _linear("projection", D, own.width))
        shapes |= _inside("own_input.norm", _norm(config, D))
    return {"layer_scalar": (1,)} | shapes if config.layer_scalar else shapes


def _mixer(config: ModelConfig, layer: int) -> Shapes:
    if config.delta is not None and layer in config.delta.layers:
        return _gated_delta(config, config.delta)
    if config.short_conv is not None and layer in config.short_conv.layers:
        return _short_conv(config, config.short_conv)
    if config.mamba is not None and layer in config.mamba.layers and not config.has_both:
        return _mamba2(config, config.mamba)
    return _attention(config, layer) if config.latent is None else _latent_attention(config, config.latent)


def _attention(config: ModelConfig, layer: int) -> Shapes:
    D, biased, heads = config.hidden_size, config.attention_bias, head_sizes(config, layer)
    q, kv, has_own = (
        config.num_attention_heads * heads.head_dim,
        heads.width,
        kv_owner(config, layer) == layer,
    )
    asked = 2 * q if config.attention_gate else q
    shapes: Shapes = {"sinks": (config.num_attention_heads,)} if config.attention_sinks else {}
    shapes |= _linear("q_proj", asked, D, bias=biased)
    for name in ("k_proj", "v_proj")[: 0 if not has_own else 1 if values_are_keys(config, layer) else 2]:
        shapes |= _linear(name, kv, D, bias=biased)
    shapes |= _linear("o_proj", D, q, bias=config.output_bias)
    if config.qk_norm not in ("none", "unweighted"):
        over_heads = config.qk_norm == "projection"
        for name, width in (("q_norm", q), ("k_norm", kv))[: 2 if has_own else 1]:
            shapes |= _inside(name, _norm(config, width if over_heads else heads.head_dim))
    return shapes


def _latent_attention(config: ModelConfig, latent: LatentConfig) -> Shapes:
    """Its two inner norms have no bias, whatever those of the layers are."""
    D, H, biased = config.hidden_size, config.num_attention_heads, config.attention_bias
    keys = H * (latent.qk_nope_head_dim + latent.qk_rope_head_dim)
    if latent.q_lora_rank:
        shapes = _linear("q_a_proj", latent.q_lora_rank, D, bias=biased)
        shapes["q_a_layernorm.weight"] = (latent.q_lora_rank,)
        shapes |= _linear("q_b_proj", keys, latent.q_lora_rank)
    else:
        shapes = _linear("q_proj", keys, D)
    held = latent.kv_lora_rank + latent.qk_rope_head_dim
    shapes |= _linear("kv_a_proj_with_mqa", held, D, bias=biased)
    shapes["kv_a_layernorm.weight"] = (latent.kv_lora_rank,)
    shapes |= _linear("kv_b_proj", H * (latent.qk_nope_head_dim + latent.v_head_dim), latent.kv_lora_rank)
    shapes |= _linear("o_proj", D, H * latent.v_head_dim, bias=config.output_bias)
    return shapes


def _gated_delta(config: ModelConfig, delta: DeltaConfig) -> Shapes:
    D, W = config.hidden_size, delta.num_value_heads
    shapes: Shapes = {"dt_bias": (W,), "A_log": (W,)}
    if delta.inputs_by_head:
        shapes |= _linear("in_proj_qkvz", delta.convolved + delta.value_width, D)
        shapes |= _linear("in_proj_ba", 2 * W, D)
    else:
        shapes |= _linear("in_proj_qkv", delta.convolved, D) | _linear("in_proj_z", delta.value_width, D)
        shapes |= _linear("in_proj_b", W, D) | _linear("in_proj_a", W, D)
    shapes |= {"conv1d.weight": (delta.convolved, 1, delta.kernel), "norm.weight": (delta.value_head_dim,)}
    return shapes | _linear("out_proj", D, delta.value_width)


def _short_conv(config: ModelConfig, short: ShortConvConfig) -> Shapes:
    D, biased = config.hidden_size, short.bias
    conv: Shapes = {"conv.weight": (D, 1, short.kernel)} | ({"conv.bias": (D,)} if biased else {})
    return _linear("in_proj", 3 * D, D, bias=biased) | conv | _linear("out_proj", D, D, bias=biased)


def _mamba2(config: ModelConfig, mamba: Mamba2Config) -> Shapes:
    D, W, biased = config.hidden_size, mamba.num_heads, mamba.bias
    shapes: Shapes = {"dt_bias": (W,), "A_log": (W,), "D": (W,)}
    shapes |= _linear("in_proj", mamba.width + mamba.convolved + W, D, bias=biased)
    shapes["conv1d.weight"] = (mamba.convolved, 1, mamba.kernel)
    shapes |= {"conv1d.bias": (mamba.convolved,)} if mamba.conv_bias else {}
    shapes |= {"norm.weight": (mamba.width,)} if mamba.norm else {}
    return shapes | _linear("out_proj", D, mamba.width, bias=biased)


def _mlp(config: ModelConfig, width: int) -> Shapes:
    D, biased = config.hidden_size, config.mlp_bias
    shapes = _linear("gate_proj", width, D, bias=biased) if config.gated_mlp else {}
    shapes |= _linear("up_proj", width, D, bias=biased)
    shapes |= _linear("down_proj", D, width, bias=biased)
    return shapes | (_inside("act_fn", _XIELU) if config.hidden_act == "xielu" else {})


def _experts(config: ModelConfig, experts: ExpertsConfig) -> Shapes:
    D, N, F = config.hidden_size, experts.num_experts, experts.intermediate_size
    shapes = _linear("gate", N, D, bias=experts.router_bias)
    if experts.beside_mlp:
        shapes |= {"gate.scale": (D,), "gate.per_expert_scale": (N,)}
    if experts.selection_bias:
        shapes["gate.e_score_correction_bias"] = (N,)
    first, rows = ("gate_up_proj", 2 * F) if config.gated_mlp else ("up_proj", F)
    shapes |= {f"experts.{first}": (N, rows, D), "experts.down_proj": (N, D, F)}
    if experts.expert_bias:
        shapes |= {"experts.gate_up_proj_bias": (N, 2 * F), "experts.down_proj_bias": (N, D)}
    if experts.shared_intermediate_size:
        shared = _mlp(config, experts.shared_intermediate_size)
        shapes |= _inside("shared_expert", shared)
    for name in ("norm_read", "norm_mlp", "norm_experts") if experts.beside_mlp else ():
        shapes |= _inside(name, _norm(config, D))
    return shapes | (_linear("shared_expert_gate", 1, D) if experts.shared_gate else {})


def _norm(config: ModelConfig, width: int) -> Shapes:
    shapes: Shapes = {"weight": (width,)}
    return shapes | ({"bias": (width,)} if config.norm == "layer" and config.norm_bias else {})


def _linear(name: str, rows: int, columns: int, *, bias: bool = False) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (rows, columns)}
    return shapes | ({f"{name}.bias": (rows,)} if bias else {})


def _inside(module: str, shapes: Shapes) -> Shapes:
    return {f"{module}.{name}": shape for name, shape in shapes.items()}
