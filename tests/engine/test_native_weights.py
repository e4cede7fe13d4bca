"""Weights packed for the kernels: rounded as GGUF rounds them, read as they are, and given up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.blocks import Block
from llmkit.engine.config import SamplingConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native import NativeRunner
from llmkit.engine.native_store import NativeStore
from llmkit.engine.native_weights import PackedModel, pack_weights
from llmkit.engine.request import Request
from llmkit.engine.scheduler import Work
from llmkit.engine.text import Text
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedFormat
from llmkit.model.coded_weights import CodedWeights
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.load import load_model
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
Make = Callable[..., Transformer]
EXPERTS = ExpertsConfig(
    **{"num_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 64, "layers": (0, 2)},
    **{"norm_topk_prob": True},
)
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 64, "intermediate_size": 96},
    "qwen3_moe": {
        **{"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 96, "qk_norm": "head"},
        "experts": EXPERTS,
    },
}


def logits(model: PackedModel) -> torch.Tensor:
    """After each of 24 tokens, one pass a token but for the first few. (24, V)."""
    tokens = torch.randint(0, 40, (24,), generator=torch.Generator().manual_seed(5)).tolist()
    sampler: Any = None
    request = Request(tuple(tokens), SamplingConfig(max_tokens=1))
    text = Text(number=0, request=request, sampler=sampler, room=9, tokens=tokens[:1], drafts=tokens[1:6])
    text.table = [Block(index) for index in (4, 0, 2)]
    runner = NativeRunner(model, NativeStore(model.config, 5, 8, model.dtype))
    found = runner.run([Work(text, 0, 6, 5)])
    text.tokens = tokens
    for at in range(6, 24):
        text.tokens = tokens[: at + 1]
        found += runner.run([Work(text, at, 1, 0)])
    return torch.from_numpy(np.concatenate([rows for rows in found if rows is not None]))


def modules(model: Transformer) -> torch.Tensor:
    """The same by the model's modules."""
    tokens = torch.randint(0, 40, (24,), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return model(tokens[None])[0]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of a typical row, as a share of the scores' spread: another expert is another row."""
    return ((found - expected).square().mean(1).sqrt().median() / expected.std()).item()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("packed_format", "levels"), [(PackedFormat.INT8, 127), (PackedFormat.INT4, 8)], ids=["int8", "int4"]
)
def test_rounded_weights_compute_what_their_values_compute(
    name: str, packed_format: PackedFormat, levels: int, make_model: Make
) -> None:
    model, rounded = (make_model(**MODELS[name]) for _ in range(2))
    with torch.no_grad():
        for part, parameter in rounded.named_parameters():
            if parameter.dim() >= 2 and "embed" not in part and not part.endswith("mlp.gate.weight"):
                parameter.copy_(rounded_to(parameter, levels))
    found = logits(pack_model(model, packed_format))
    assert distance(found, modules(rounded)) < 0.06  # activations are rounded to 8 bits as well
    assert levels == 127 or distance(found, modules(model)) > 0.12


def rounded_to(weight: torch.Tensor, levels: int) -> torch.Tensor:
    """In groups of 32 with a float16 scale, as ggml's Q8_0 and Q4_0."""
    groups = weight.detach().reshape(-1, 32).numpy()
    if levels == 127:
        scale = np.abs(groups).max(1, keepdims=True) / 127
    else:  # the value farthest from 0 becomes -8
        scale = np.take_along_axis(groups, np.abs(groups).argmax(1)[:, None], 1) / -8
    codes = np.round(groups / scale)
    kept = np.clip(codes, -levels, levels if levels == 127 else 7) * scale.astype(np.float16)
    return torch.from_numpy(kept.astype(np.float32)).view(weight.shape)


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_weights_are_read_as_they_are_and_given_up_when_packed(name: str, make_model: Make) -> None:
    model, twin = (make_model(**MODELS[name]).to(torch.bfloat16) for _ in range(2))
    # the twin computes in float32 on the same values, which is what the kernels do
    expected = modules(twin.float())
    kept = sum(
        2 * one.numel() for key, one in model.named_parameters() if one.dim() > 1 and "embed" not in key
    )
    native = pack_model(model, release=True)
    assert distance(logits(native), expected) < 0.03  # AVX512-BF16 rounds what goes into a product too
    left = {key for key, one in model.named_parameters() if one.dim() > 1 and one.numel()}
    assert {key for key in left if not key.endswith("mlp.gate.weight")} == {"model.embed_tokens.weight"}
    assert native.nbytes >= kept


def test_what_is_not_asked_for_stays_with_the_model(make_model: Make) -> None:
    model = make_model(**MODELS["qwen3_moe"])
    before = model(torch.tensor([[1, 2, 3]]))
    pack_model(model)
    assert torch.equal(model(torch.tensor([[1, 2, 3]])), before)


@pytest.mark.parametrize(
    ("family", "changes", "types"),
    [
        (
            "llama",
            {},
            {"attn_v": "Q6_K", "attn": "Q4_K", "ffn": "Q4_K", "token_embd": "Q4_K", "output": "Q6_K"},
        ),
        ("llama", {"tie_word_embeddings": True}, {"attn": "Q3_K", "ffn": "Q2_K", "token_embd": "Q6_K"}),
        ("llama", {}, {"ffn_gate": "Q5_K", "ffn_up": "IQ4_XS", "ffn_down": "Q5_0", "attn": "IQ4_NL"}),
        ("qwen3", {}, {"ffn_gate": "Q8_0", "ffn_down": "Q5_1", "attn_q": "Q4_0", "attn_k": "Q4_1"}),
        (
            "qwen3_moe",
            {
                "num_experts": 6,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 256,
                "norm_topk_prob": True,
            },
            {"ffn": "Q4_K", "attn": "Q8_0"},
        ),
    ],
)
def test_codes_of_a_file_compute_what_they_stand_for_and_no_plain_copy_is_made(
    family: str, changes: dict[str, Any], types: dict[str, str], tmp_path: Path
) -> None:
    config = case_config(
        family, {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40} | changes
    )
    path = coded_gguf(tmp_path / "a.gguf", random_model(config), types)
    weights = StoredWeights(path, dtype="float32", coded=CodedWeights())
    assert weights.codes
    native = pack_weights(weights)
    assert distance(logits(native), modules(load_model(path, dtype=torch.float32))) < 0.06
    plain = pack_model(load_model(path, dtype=torch.float32))
    assert native.nbytes < 0.8 * plain.nbytes
