"""Weights packed for the kernels: rounded as GGUF rounds them, read as they are, and given up."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coded_models import coded_gguf
from gguf_models import GRANITE_H, NEMOTRON_3, NEMOTRON_H, case_config, random_model
from safetensors.torch import load_file, save_file

from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.native import NativeRunner
from llmkit.engine.native.store import NativeStore
from llmkit.engine.native.weights import PackedModel, pack_weights
from llmkit.engine.scheduler import Work
from llmkit.formats.quantised import bnb_4bit
from llmkit.formats.quantised.gptq import Gptq
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedFormat
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config, ShortConvConfig
from llmkit.model.load import load_model
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.quantised.nf4 import nf4
from llmkit.model.save import save_model
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer
from tests.written_texts import known

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
Make = Callable[..., Transformer]
EXPERTS = ExpertsConfig(
    **{"num_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 64, "layers": (0, 2)},
    **{"norm_topk_prob": True},
)
DELTA = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4},
    **{"linear_key_head_dim": 128, "linear_value_head_dim": 128},
}
GRANITE = {**GRANITE_H, "shared_intermediate_size": 512, "mamba_d_head": 64}
NEMOTRON = {**NEMOTRON_H, "mamba_head_dim": 64, "num_attention_heads": 4, "head_dim": 64}
SPARSE_NEMOTRON = {
    **{**NEMOTRON_3, **NEMOTRON, "layers_block_type": ["mamba", "moe", "attention"]},
    **{"moe_intermediate_size": 256, "moe_shared_expert_intermediate_size": 256, "intermediate_size": 256},
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 64, "intermediate_size": 96},
    "qwen3_moe": {
        **{"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 96, "qk_norm": "head"},
        "experts": EXPERTS,
    },
}


WITH_STATES: dict[str, dict[str, Any]] = {
    "lfm2": {
        **{"model_type": "lfm2", "hidden_size": 64, "intermediate_size": 96, "qk_norm": "head"},
        "short_conv": ShortConvConfig(layers=(0, 2), kernel=3),
    },
    "qwen3_5_text": {
        **{"model_type": "qwen3_5_text", "hidden_size": 64, "intermediate_size": 96, "qk_norm": "head"},
        **{"norm_plus_one": True, "attention_gate": True},
        "delta": DeltaConfig(
            layers=(0, 2), num_key_heads=2, num_value_heads=8, key_head_dim=16, value_head_dim=8, kernel=4
        ),
    },
    "granitemoehybrid": {
        **{"model_type": "granitemoehybrid", "hidden_size": 64, "intermediate_size": 96},
        **{"attention_scale": 0.25, "norm_eps": 1e-6},
        "mamba": Mamba2Config(layers=(0, 2), num_heads=4, head_dim=16, num_groups=2, state_size=16, kernel=4),
    },
}
STAY = ("mlp.gate.weight", "conv.weight", "conv1d.weight", "in_proj_a.weight", "in_proj_b.weight")
"""Ends of names of what is not rounded, and of what the model keeps: the kernels have copies in float32."""


def logits(model: PackedModel) -> torch.Tensor:
    """After each of 24 tokens, one pass a token but for the first few. (24, V)."""
    tokens = torch.randint(0, 40, (24,), generator=torch.Generator().manual_seed(5)).tolist()
    text = known(0, tokens[:1], (4, 0, 2), drafts=tokens[1:6])
    text.state = 0
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


@pytest.mark.parametrize("name", [*MODELS, *WITH_STATES])
@pytest.mark.parametrize(
    ("packed_format", "levels"), [(PackedFormat.INT8, 127), (PackedFormat.INT4, 8)], ids=["int8", "int4"]
)
def test_rounded_weights_compute_what_their_values_compute(
    name: str, packed_format: PackedFormat, levels: int, make_model: Make
) -> None:
    model, rounded = (make_model(**(MODELS | WITH_STATES)[name]) for _ in range(2))
    with torch.no_grad():
        for part, parameter in rounded.named_parameters():
            if parameter.dim() >= 2 and "embed" not in part and not part.endswith(STAY):
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


@pytest.mark.parametrize("name", [*MODELS, *WITH_STATES])
def test_bfloat16_weights_are_read_as_they_are_and_given_up_when_packed(name: str, make_model: Make) -> None:
    model, twin = (make_model(**(MODELS | WITH_STATES)[name]).to(torch.bfloat16) for _ in range(2))
    # the twin computes in float32 on the same values, which is what the kernels do
    expected = modules(twin.float())
    kept = sum(
        2 * one.numel() for key, one in model.named_parameters() if one.dim() > 1 and "embed" not in key
    )
    native = pack_model(model, release=True)
    assert distance(logits(native), expected) < 0.03  # AVX512-BF16 rounds what goes into a product too
    left = {key for key, one in model.named_parameters() if one.dim() > 1 and one.numel()}
    assert {key for key in left if not key.endswith(STAY)} == {"model.embed_tokens.weight"}
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
        (
            "lfm2",
            {"layer_types": ["conv", "full_attention", "conv", "conv"], "block_auto_adjust_ff_dim": False},
            {"shortconv.in": "Q4_K", "shortconv.out": "Q6_K", "attn": "Q8_0", "ffn": "Q5_K"},
        ),
        ("qwen3_5_text", DELTA, {"attn": "Q4_K", "ssm_out": "Q5_K", "ffn": "Q8_0"}),
        ("granitemoehybrid", GRANITE, {"ssm_in": "Q4_K", "ssm_out": "Q6_K", "attn": "Q5_K", "ffn": "Q8_0"}),
        ("nemotron_h", SPARSE_NEMOTRON, {"ffn": "Q4_K", "ssm_in": "Q8_0", "attn": "Q8_0"}),
        ("nemotron_h", NEMOTRON, {"ssm_in": "Q5_K", "ssm_out": "Q4_K", "attn": "Q4_K", "ffn": "Q6_K"}),
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


def quantised_folder(model: Transformer, path: Path, method: str) -> Path:
    """A folder with the matrices of the model's layers in NF4, in float8, or in groups that lie scattered."""
    save_model(model, path)
    stored: dict[str, torch.Tensor] = {}
    random = np.random.default_rng(0)
    for name, tensor in load_file(path / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if tensor.dim() != 2 or "layers" not in name or "mlp.gate.weight" in name:
            stored[name] = tensor
            continue
        rows, columns = tensor.shape
        parts: dict[str, np.ndarray] = {}
        if method == "bitsandbytes":
            codes = nf4(tensor)
            state = json.dumps({"shape": [rows, columns], "blocksize": 64}).encode()
            parts[bnb_4bit.CODES] = codes.tensors["codes"].numpy()[:, None]
            parts[bnb_4bit.ABSMAX], parts[bnb_4bit.TABLE] = codes.tensors["steps"].numpy(), bnb_4bit.NF4
            parts[bnb_4bit.STATES[0]] = np.frombuffer(state, np.uint8)
        elif method == "fp8":
            scale = tensor.abs().max() / 448
            stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale.expand(-(-rows // 32), -(-columns // 64)).contiguous()
        else:
            parts = Gptq(4, 32).write(random.integers(0, 16, (rows, columns)).astype(np.uint8), None)
            order = np.random.default_rng(columns).permutation(parts[".g_idx"])  # one for all of one input
            parts[".g_idx"] = random.permutation(order) if method == "gptq-each" else order
            parts[".scales"] = (0.02 * random.random((columns // 32, rows))).astype(np.float16)
        stored |= {module + suffix: torch.from_numpy(part.copy()) for suffix, part in parts.items()}
    save_file(stored, path / "model.safetensors")
    section: dict[str, Any] = {
        "bitsandbytes": {"load_in_4bit": True},
        "fp8": {"weight_block_size": [32, 64]},
    }.get(method, {"bits": 4, "group_size": 32, "desc_act": True})
    config = json.loads((path / "config.json").read_text())
    section["quant_method"] = method.partition("-")[0]
    (path / "config.json").write_text(json.dumps(config | {"quantization_config": section}))
    return path


@pytest.mark.parametrize("name", [*MODELS, *WITH_STATES])
@pytest.mark.parametrize("method", ["bitsandbytes", "fp8", "gptq", "gptq-each"])
def test_codes_that_are_widened_compute_what_plain_numbers_do(
    name: str, method: str, tmp_path: Path, make_model: Make
) -> None:
    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 192}
    if name == "granitemoehybrid":  # as wide inside as outside, at least
        sizes["mamba"] = replace(WITH_STATES[name]["mamba"], num_heads=8)
    path = quantised_folder(make_model(**(MODELS | WITH_STATES)[name] | sizes), tmp_path, method)
    weights = StoredWeights(path, dtype="float32", coded=CodedWeights())
    plain = load_model(path, dtype=torch.float32)
    names = {one for one, parameter in plain.named_parameters() if parameter.dim() > 1 and "layers" in one}
    left = {one for one in names - weights.codes.keys() if not one.endswith(STAY)}
    assert all("experts.gate_up" in one for one in left) and bool(left) == (
        method == "gptq-each" and "experts" in MODELS.get(name, {})
    )
    native = pack_weights(weights)
    expected = modules(plain)
    assert torch.allclose(logits(native), expected, atol=1e-4 * float(expected.std()))
    assert native.nbytes < (0.95 if left or method == "gptq-each" else 0.6) * pack_model(plain).nbytes
