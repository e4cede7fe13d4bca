"""Quantised tensors of a folder as plain ones: numbers, names, and what is told of damage."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from mxfp4_models import mxfp4_folder
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.model_folder import TensorInfo
from llmkit.formats.quantised.bnb_4bit import NF4
from llmkit.formats.quantised.gptq import Gptq
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.load import load_model
from llmkit.model.quantised.stored import plain_tensors
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

GROUP = 32
KINDS = ("self_attn", "mlp", "attn", "block_sparse_moe.experts")
EXPERTS = ExpertsConfig(
    num_experts=4, num_experts_per_tok=2, intermediate_size=64, layers=(0, 1), norm_topk_prob=True
)
SECTION = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False}


@pytest.fixture
def quantised(
    tmp_path: Path, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Callable[[str], tuple[Path, dict[str, Tensor]]]:
    """A folder of a family as GPTQ files, and the plain tensors that they stand for, worked out by hand."""

    def make(family: str) -> tuple[Path, dict[str, Tensor]]:
        folder = tmp_path / family
        folder.mkdir()
        sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "max_position_embeddings": 32}
        if family == "mixtral":
            sizes["experts"] = EXPERTS
        save_model(make_model(make_config(family, **sizes)), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"quantization_config": SECTION}))
        plain = load_file(folder / "model.safetensors")
        stored: dict[str, Tensor] = {}
        rng = np.random.default_rng(0)
        for name in sorted(plain):
            if not any(f".{kind}" in name for kind in KINDS) or plain[name].dim() < 2:
                stored[name] = plain[name]
                continue
            rows, columns = plain[name].shape[::-1] if family == "gpt2" else plain[name].shape
            codes = rng.integers(0, 16, (rows, columns)).astype(np.uint8)
            scales = torch.from_numpy(rng.normal(size=(columns // GROUP, rows)).astype(np.float16))
            module = name.removesuffix(".weight")
            parts = Gptq(4, GROUP).write(codes, None)
            stored |= {module + suffix: torch.from_numpy(part) for suffix, part in parts.items()}
            stored[module + ".scales"] = scales
            values = (torch.from_numpy(codes).float() - 8) * scales.float().t().repeat_interleave(GROUP, 1)
            plain[name] = values.t().contiguous() if family == "gpt2" else values
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return folder, plain

    return make


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt_neox", "mixtral", "gpt2"])
def test_a_quantised_folder_is_the_plain_one_of_the_same_numbers(
    family: str, quantised: Callable[[str], tuple[Path, dict[str, Tensor]]], tmp_path: Path
) -> None:
    folder, plain = quantised(family)
    same = tmp_path / "plain"
    same.mkdir()
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (same / "config.json").write_text(json.dumps(config))
    save_file(plain, same / "model.safetensors", metadata={"format": "pt"})
    ours, theirs = load_model(folder).state_dict(), load_model(same).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    half = load_model(folder, dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(half[name], theirs[name].bfloat16()) for name in half)


@pytest.mark.parametrize(("family", "files"), [("llama", "language_model.{}"), ("gpt2", "{}")])
def test_a_quantised_model_under_other_names_leaves_none_of_its_tensors_over(
    family: str, files: str, quantised: Callable[[str], tuple[Path, dict[str, Tensor]]]
) -> None:
    # a model for images has its language model so; GPT-2's own files have no "transformer."
    folder, _ = quantised(family)
    expected = load_model(folder).state_dict()
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({files.format(name.removeprefix("transformer.")): one for name, one in tensors.items()}, path)
    found = load_model(folder).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def _rewritten(
    folder: Path, section: dict[str, Any], make: Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]]
) -> dict[str, Tensor]:
    """Put matrices into a folder as `make` gives them with the numbers they stand for, and return those."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": section}))
    expected = load_file(folder / "model.safetensors")
    stored: dict[str, Tensor] = {}
    for name in sorted(expected):
        if expected[name].dim() == 2 and ".layers." in name:
            parts, expected[name] = make(name.removesuffix(".weight"), expected[name])
            stored |= parts
        else:
            stored[name] = expected[name]
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return expected


@pytest.fixture
def plain(
    tmp_path: Path, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Path:
    """A llama's folder."""
    config = make_config("llama", hidden_size=64, intermediate_size=96)
    save_model(make_model(config), tmp_path)
    return tmp_path


def test_float8_blocks_are_read_and_scales_of_activations_are_left_alone(plain: Path) -> None:
    def make(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        codes = matrix.mul(100).to(torch.float8_e4m3fn)
        scale = torch.rand(-(-matrix.shape[0] // 48), -(-matrix.shape[1] // 32))
        spread = scale.repeat_interleave(48, 0).repeat_interleave(32, 1)
        parts = {"weight": codes, "weight_scale_inv": scale, "input_scale": torch.ones(1)}
        rows, columns = matrix.shape
        values = codes.float() * spread[:rows, :columns]
        return {f"{module}.{name}": part for name, part in parts.items()}, values

    section = {"quant_method": "fp8", "weight_block_size": [48, 32], "activation_scheme": "static"}
    expected = _rewritten(plain, section, make)
    ours = load_model(plain).state_dict()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_gpt_oss_as_it_is_published_computes_what_it_does_in_transformers(
    tmp_path: Path, transformers: ModuleType
) -> None:
    folder = mxfp4_folder(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        quantization_config=transformers.Mxfp4Config(dequantize=True),
    )
    ids = torch.randint(96, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.float()(ids).logits
        assert (load_model(folder, dtype=torch.float32)(ids) - expected).abs().max() < 1e-4 * expected.std()


def test_bitsandbytes_four_bits_are_read(plain: Path) -> None:
    def make(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        blocks = matrix.reshape(-1, 64)
        largest, table = blocks.abs().amax(1), torch.tensor(NF4)
        codes = (blocks[..., None] / largest[:, None, None] - table).abs().argmin(-1).to(torch.uint8)
        packed = (codes.reshape(-1, 2)[:, 0] << 4) | codes.reshape(-1, 2)[:, 1]
        state = json.dumps({"shape": list(matrix.shape), "blocksize": 64, "quant_type": "nf4"}).encode()
        parts = {
            "weight": packed[:, None],
            "weight.absmax": largest,
            "weight.quant_map": table,
            "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(state), dtype=torch.uint8),
        }
        values = (table[codes.int()] * largest[:, None]).view(matrix.shape)
        return {f"{module}.{name}": part for name, part in parts.items()}, values

    expected = _rewritten(plain, {"quant_method": "bitsandbytes", "load_in_4bit": True}, make)
    ours = load_model(plain).state_dict()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors, module: tensors.pop(f"{module}.scales"), "no scales, which gptq weights have"),
        (
            lambda tensors, module: tensors.update({f"{module}.scales": torch.zeros(1, 64)}),
            r"are not gptq weights as config.json describes them .*scales F32 \[1, 64\]",
        ),
        (
            lambda tensors, module: tensors.update({f"{module}.qweight": torch.zeros(8, 64)}),
            r"are not gptq weights as config.json describes them .*qweight F32 \[8, 64\]",
        ),
        (lambda tensors, module: tensors.pop(f"{module}.qweight"), "lack .*q_proj.weight"),
        (
            lambda tensors, module: tensors.update(
                {f"{module}.scales": torch.zeros(2, 64, dtype=torch.float64)}
            ),
            "q_proj.scales is stored as F64",
        ),
    ],
)
def test_damage_is_told(
    change: Callable[[dict[str, Tensor], str], object],
    words: str,
    quantised: Callable[[str], tuple[Path, dict[str, Tensor]]],
) -> None:
    folder, _ = quantised("llama")
    tensors = load_file(folder / "model.safetensors")
    change(tensors, "model.layers.0.self_attn.q_proj")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(DataError, match=words):
        load_model(folder)


def test_without_a_section_nothing_changes() -> None:
    stored = {"a.qweight": TensorInfo("a.qweight", "I32", (8, 8), 256, Path("x"))}
    assert plain_tensors(stored, None) == stored
