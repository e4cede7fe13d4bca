"""What is captured, against the attention that transformers gives out and the model's own modules."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import (
    ALONE,
    BAMBA,
    BIAS,
    CONV,
    DELTA,
    DYNAMIC,
    ERNIE,
    FALCON_H1,
    GEMMA4,
    GROUPS,
    LATENT,
    LITE,
    LLAMA4,
    LOCAL,
    LONG,
    MAMBA,
    MHA,
    MSCALE,
    NARROW,
    ONE_BRANCH,
    QUERIES,
    QWEN,
    ROUTED,
    SHARED,
    TIED,
    WINDOW,
    YARN,
    make_pair,
)
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.model.families.table import FAMILIES
from llmkit.model.transformer import Transformer
from llmkit.model.window import ALL
from llmkit.probe.attention.capture import capture, wanted_layers
from llmkit.probe.attention.rows import attention_rows

TOKENS = 40
ONE_STATE = {"layer_types": ["linear_attention", *["full_attention"] * 3]}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {**NARROW, **TIED}),  # one key head
    ("llama", {**MHA, **BIAS, **DYNAMIC, "max_position_embeddings": 24}),  # positions know the text's length
    ("mistral", WINDOW),
    ("mixtral", {**LOCAL, **WINDOW, **MHA}),
    ("qwen2", {"use_sliding_window": True, **WINDOW, "max_window_layers": 2, **YARN}),
    ("qwen3", BIAS),
    ("qwen2_moe", {**SHARED, "mlp_only_layers": [1]}),
    ("qwen3_moe", QWEN),
    ("olmoe", {"num_experts": 8, "num_experts_per_tok": 2}),
    ("gemma", {}),
    ("gemma2", {**WINDOW, "query_pre_attn_scalar": 9, "attn_logit_softcapping": 0.5}),
    ("gemma3_text", {**WINDOW, "sliding_window_pattern": 2}),
    ("phi3", {**LONG, "original_max_position_embeddings": 20}),
    ("phi", {**MHA, "partial_rotary_factor": 0.25}),
    ("olmo2", {}),
    ("olmo3", WINDOW),
    ("smollm3", {}),
    ("granite", {"attention_multiplier": 0.3, "residual_multiplier": 0.5, "embedding_multiplier": 3.0}),
    ("gpt2", {}),
    ("gpt_neox", {}),
    ("stablelm", {"use_qkv_bias": True, "use_parallel_residual": True}),
    ("starcoder2", WINDOW),
    ("cohere", {}),
    ("deepseek_v2", {**LATENT, "q_lora_rank": None}),
    ("deepseek_v3", {**LATENT, **GROUPS, "q_lora_rank": 20, **MSCALE}),
    ("dots1", {**ROUTED, "n_shared_experts": 1}),
    ("glm4_moe", {**ROUTED, "use_qk_norm": True}),
    ("ministral3", QUERIES),
    ("apertus", {}),
    ("arcee", {}),
    ("seed_oss", {}),
    ("helium", {}),
    ("ernie4_5", {}),
    ("glm", {}),
    ("glm4", {}),
    ("exaone4", WINDOW),
    ("cohere2", WINDOW),
    ("nemotron", {}),
    ("glm4_moe_lite", {**LITE, "q_lora_rank": 20}),
    ("ernie4_5_moe", ERNIE),
    ("minimax_m2", LOCAL),
    ("hunyuan_v1_dense", {}),
    ("hunyuan_v1_moe", {"num_experts": 8, "moe_topk": 3}),
    ("granitemoe", {**LOCAL, "attention_multiplier": 0.25}),
    ("granitemoehybrid", {**ALONE, "attention_multiplier": 0.25}),
    ("granitemoehybrid", {**MAMBA, **LOCAL, **ONE_STATE}),
    ("llama4_text", LLAMA4),
    ("bamba", {**BAMBA, "attn_layer_indices": [0, 1, 2]}),
    ("falcon_h1", {**FALCON_H1, "key_multiplier": 3.0}),
    ("gemma4_text", {**GEMMA4, "attention_k_eq_v": True}),
    ("nemotron_h", {**ONE_BRANCH, "layers_block_type": ["mlp", "attention", "attention", "mamba"]}),
    ("gpt_oss", {**LOCAL, **WINDOW}),
    ("qwen3_next", {**SHARED, **DELTA, **ONE_STATE}),
    ("qwen3_5_text", {**DELTA, **MHA}),
    ("qwen3_5_moe_text", {**SHARED, **DELTA, **ONE_STATE}),
    ("lfm2", CONV),
    ("lfm2_moe", {**QWEN, **CONV, "num_dense_layers": 1}),
]


@pytest.mark.parametrize(("family", "changes"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_weights_are_those_that_transformers_gives_out(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pair = make_pair(family, changes, tmp_path)
    ids = torch.randint(3, 96, (TOKENS,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Scores of about one, where float32 tells 1e-6 apart; but heads must not look everywhere alike
        for name, one in (*pair.ours.named_parameters(), *pair.theirs.named_parameters()):
            if not name.endswith("e_score_correction_bias"):  # a parameter of ERNIE's class, a buffer here
                # GPT-2's norms are small in `make_pair`, and what Nemotron-H's and Gemma 4's attention reads
                one.mul_(1.7 if family in ("gpt2", "nemotron_h", "gemma4_text") else 0.7)
        theirs = pair.theirs(ids[None], output_attentions=True).attentions
    layers = list(capture(pair.ours, ids, run=512 if family == "llama" else 16))
    states = pair.ours.config.layers_without_keys
    assert [one.layer for one in layers] == [
        n for n in range(4 if states else len(theirs)) if n not in states
    ]
    for one, weights in zip(layers, theirs, strict=True):
        ours = torch.stack([attention_rows(one, head) for head in range(one.heads)])
        torch.testing.assert_close(ours, weights[0], rtol=0, atol=1e-6)
        assert ours[:, -1].max() > 1.5 * ours[:, -1].mean()


def test_every_family_is_compared() -> None:
    assert {family for family, _ in CASES} == set(FAMILIES)


def _llama(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(
        **{
            **{"vocab_size": 30, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 3},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
            **changes,
        }
    )
    return Transformer(config).eval()


def _attended(model: Transformer, ids: Tensor) -> list[Tensor]:
    """What each layer's attention gives in a plain pass, (T, D)."""
    given: list[Tensor] = []
    handles = [
        block.self_attn.register_forward_hook(lambda _m, _i, out: given.append(out[0]))  # type: ignore[union-attr]
        for block in model.model.layers
    ]
    with torch.no_grad():
        model(ids[None])
    for handle in handles:
        handle.remove()
    return given


@pytest.mark.parametrize("run", [1, 7, 64])
def test_weights_times_values_are_what_the_layer_gives(run: int) -> None:
    model, ids = _llama(), torch.arange(20) % 30
    given = _attended(model, ids)
    for one in capture(model, ids, run=run):
        mixed = torch.cat(
            [attention_rows(one, head) @ one.v[one.group(head)] for head in range(one.heads)], dim=1
        )
        torch.testing.assert_close(one.o_proj(mixed), given[one.layer], rtol=1e-4, atol=1e-5)


def test_layers_come_in_order_and_only_those_asked_for() -> None:
    model, ids = _llama(), torch.arange(9)
    every = list(capture(model, ids))
    some = list(capture(model, ids, [-1, 0, 2]))
    assert [one.layer for one in some] == [0, 2]
    torch.testing.assert_close(some[1].q, every[2].q, rtol=0, atol=0)
    read = []
    handle = model.model.layers[1].mlp.register_forward_hook(lambda *_: read.append(1))  # type: ignore[union-attr]
    list(capture(model, ids, [1]))
    handle.remove()
    assert read == []  # nothing is computed beyond what is asked for


def test_shapes_and_settings_are_the_models() -> None:
    model = _llama(attention_scale=0.3, model_type="granite")
    (one,) = capture(model, torch.arange(9), [1])
    assert (one.q.shape, one.k.shape, one.v.shape) == ((4, 9, 8), (2, 9, 8), (2, 9, 8))
    assert (one.heads, one.tokens, one.scale) == (4, 9, 0.3)
    assert [one.group(head) for head in range(4)] == [0, 0, 1, 1]
    assert one.window == ALL and one.softcap is None and one.sinks is None and one.first_key(8) == 0


def test_a_bfloat16_model_gives_bfloat16_and_rows_are_computed_in_float32() -> None:
    (one,) = capture(_llama().bfloat16(), torch.arange(9), [2])
    rows = attention_rows(one, 0)
    assert one.q.dtype == torch.bfloat16 and rows.dtype == torch.float32
    k = one.k[0].float()
    scores = one.q[0].float() @ k.T / math.sqrt(8)
    expected = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf).softmax(-1)
    torch.testing.assert_close(rows, expected)


def test_what_is_not_there_is_named() -> None:
    model = _llama()
    with pytest.raises(UsageError, match="no layer 3 in a model of 3"):
        list(capture(model, torch.arange(4), [3]))
    with pytest.raises(UsageError, match="no layer -4"):
        wanted_layers([-4], model.config)
    with pytest.raises(UsageError, match="no layer is asked for"):
        wanted_layers([], model.config)
    with pytest.raises(UsageError, match="no tokens"):
        list(capture(model, torch.arange(0)))
