"""What a forward pass keeps: the formula beside autograd, asked tensor by tensor."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.kernels.library import available
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import Mamba2Config
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.parallel.tensors import local
from llmkit.workflows.run.kept import layers_bytes
from tests.model.recurrent.conftest import hybrid

GATED = 3 if available() else 4
"""Values of its width that a gated MLP keeps."""
WIDE_MAMBA = Mamba2Config(
    layers=(0, 2), num_heads=2, head_dim=32, num_groups=1, state_size=64, kernel=4, conv_bias=False
)
SPARSE_BRANCH = ExpertsConfig(
    num_experts=8,
    num_experts_per_tok=2,
    intermediate_size=96,
    layers=(),
    scoring="sigmoid",
    selection_bias=True,
    group_score="best_two",
    shared_intermediate_size=64,
)
LATENT = {
    **{"model_type": "deepseek_v3", "vocab_size": 64, "hidden_size": 96, "num_attention_heads": 4},
    **{"q_lora_rank": 48, "kv_lora_rank": 40, "qk_nope_head_dim": 48, "qk_rope_head_dim": 16},
    **{"v_head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    **{"n_shared_experts": 1, "first_k_dense_replace": 0, "n_group": 1, "topk_group": 1},
    **{"num_hidden_layers": 3, "intermediate_size": 96, "rope_theta": 1e4, "hidden_act": "silu"},
}
SHAPES = {
    "normalised queries": preset("tiny", vocab_size=64),
    "fewer keys": preset("tiny", vocab_size=64, num_key_value_heads=1),
    "RMSNorm": preset("stories15m", vocab_size=64, hidden_size=144, num_attention_heads=6),
    "LayerNorm, no gate": preset("nanogpt-cpu", vocab_size=64),
    "experts": preset("tiny-moe", vocab_size=64),
    "latents": ModelConfig.from_hf(LATENT),
    "latents, straight queries, heads of no kernel": ModelConfig.from_hf(
        LATENT | {"q_lora_rank": None, "qk_rope_head_dim": 8, "v_head_dim": 48}
    ),
}


def kept_bytes(
    model: ModelConfig,
    rows: int,
    dtype: str,
    ranks: Ranks = ALONE,
    *,
    packed: bool = False,
    length: int = 64,
) -> int:
    """All that autograd keeps of a pass over `rows` rows of `length` tokens, each storage once."""
    torch.manual_seed(0)
    transformer = Transformer(model)
    initialise(transformer, torch.Generator().manual_seed(0))
    Divided(transformer, ranks)
    storages: dict[int, int] = {}
    held: list[Tensor] = []  # else another tensor may come to lie where one was

    def keep(tensor: Tensor) -> Tensor:
        held.append(local(tensor))
        storage = held[-1].untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    half = torch.autocast("cpu", dtype=torch.bfloat16) if dtype == "bfloat16" else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), half:
        ids = torch.randint(0, model.vocab_size, (rows, length))
        hidden = transformer.hidden(ids, segments=torch.zeros_like(ids) if packed else None)
    assert hidden.requires_grad
    return sum(storages.values())


def one_and_three(shape: str) -> tuple[ModelConfig, ModelConfig]:
    model = SHAPES[shape]
    one, three = (
        replace(
            model,
            num_hidden_layers=count,
            experts=model.experts and replace(model.experts, layers=tuple(range(count))),
        )
        for count in (1, 3)
    )
    return one, three


def of_two_layers(shape: str, dtype: str, ranks: Ranks = ALONE) -> float:
    """Two more layers over four more rows, so that embeddings, masks and copies of weights drop out."""
    one, three = one_and_three(shape)
    less, more = (
        kept_bytes(three, rows, dtype, ranks) - kept_bytes(one, rows, dtype, ranks) for rows in (2, 6)
    )
    return (more - less) / (4 * 64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_layers_part_is_what_autograd_keeps_of_it(shape: str, dtype: str) -> None:
    one, three = one_and_three(shape)
    said = layers_bytes(three, dtype) - layers_bytes(one, dtype)
    assert said == pytest.approx(of_two_layers(shape, dtype), rel=0.02)


def test_experts_keep_what_a_token_uses_of_them() -> None:
    """`tiny-moe`: 2 of 8 experts a token, each half as wide as the dense MLP; inputs and outputs too."""
    dense, sparse = preset("tiny"), preset("tiny-moe")
    more = layers_bytes(sparse, "float32") - layers_bytes(dense, "float32")
    inside = (4 - GATED) * dense.intermediate_size
    assert more == 4 * dense.num_hidden_layers * (inside + 2 * 2 * dense.hidden_size)


@pytest.mark.parametrize(
    ("name", "length", "changes"),
    [
        ("qwen3_5_text", 64, {}),
        ("lfm2", 64, {}),
        ("granitemoehybrid", 512, {"mamba": WIDE_MAMBA}),  # states between its chunks are kept too
        ("granitemoehybrid", 512, {}),
    ],
)
def test_a_layer_that_keeps_a_state_is_told_within_a_twentieth(
    name: str, length: int, changes: dict[str, Any]
) -> None:
    def of(states: int) -> ModelConfig:
        model = hybrid(name, num_hidden_layers=3, **changes).config
        layers = tuple(range(states))
        changed: dict[str, Any] = {"num_hidden_layers": states + 1}
        for part in ("delta", "short_conv", "mamba"):
            if (held := getattr(model, part)) is not None:
                changed[part] = replace(held, layers=layers)
        if model.no_rope_layers:
            changed["no_rope_layers"] = tuple(range(states + 1))
        return replace(model, **changed)

    less, more = (
        kept_bytes(of(3), rows, "float32", packed=True, length=length)
        - kept_bytes(of(1), rows, "float32", packed=True, length=length)
        for rows in (2, 6)
    )
    said = layers_bytes(of(3), "float32") - layers_bytes(of(1), "float32")
    assert said == pytest.approx((more - less) / (4 * length), rel=0.05)


@pytest.mark.parametrize("kind", ["state", "mlp", "attention", "experts"])
def test_a_layer_of_one_branch_is_told_within_a_twentieth(kind: str) -> None:
    def of(count: int) -> ModelConfig:
        states = count if kind == "state" else 1
        mlps = count if kind in ("mlp", "experts") else 1
        return hybrid(
            "nemotron_h",
            **{"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": count + 2},
            mamba=replace(WIDE_MAMBA, layers=tuple(range(states))),
            lone_mlps=(which := tuple(range(states, states + mlps))),
            experts=replace(SPARSE_BRANCH, layers=which) if kind == "experts" else None,
        ).config

    packed = kind == "state"  # whose documents cost memory, and those of attention do where no kernel reads
    less, more = (
        kept_bytes(of(3), rows, "float32", packed=packed, length=512)
        - kept_bytes(of(1), rows, "float32", packed=packed, length=512)
        for rows in (2, 6)
    )
    said = layers_bytes(of(3), "float32") - layers_bytes(of(1), "float32")
    assert said == pytest.approx((more - less) / (4 * 512), rel=0.05)
