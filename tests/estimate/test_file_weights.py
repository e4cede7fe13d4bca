"""Weights of files: what a saved model really holds, beside what its config foretells."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.file_weights import FileWeights, file_weights
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.formats.model_folder import TensorInfo, read_config, read_tensors
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS


def foretold(config: ModelConfig, dtype: str) -> FileWeights:
    return FileWeights(weight_bytes(architecture_of(config), NumbersAlone(dtype)).nbytes, dtype)


@pytest.mark.parametrize(
    "config",
    [
        *(PRESETS["tiny"], PRESETS["tiny-moe"], PRESETS["nanogpt-cpu"]),
        replace(PRESETS["nanogpt-cpu"], position="sinusoidal"),
    ],
    ids=["tied llama-like", "experts", "learned positions", "sinusoids"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_saved_model_holds_what_its_config_foretells(
    tmp_path: Path, config: ModelConfig, dtype: str
) -> None:
    import torch

    from llmkit.model.save import save_model
    from llmkit.model.transformer import Transformer

    save_model(Transformer(config), tmp_path, dtype=getattr(torch, dtype))
    stored = file_weights(read_tensors(tmp_path).values())
    assert stored == foretold(config, dtype)
    file_bytes = (tmp_path / "model.safetensors").stat().st_size
    header_bytes = 8 + int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little")
    assert stored.nbytes == file_bytes - header_bytes


def test_a_bias_that_chooses_experts_is_in_the_files_and_no_parameter(tmp_path: Path) -> None:
    import torch

    from llmkit.model.save import save_model
    from llmkit.model.transformer import Transformer

    config = PRESETS["tiny-moe-free"]
    assert config.experts is not None
    save_model(Transformer(config), tmp_path, dtype=torch.bfloat16)
    stored = file_weights(read_tensors(tmp_path).values())
    biases = len(config.experts.layers) * config.experts.num_experts * 4
    assert stored == FileWeights(foretold(config, "bfloat16").nbytes + biases, "bfloat16+float32")


def test_trained_models_are_as_large_as_their_configs_say(shared_data: Path) -> None:
    for folder in sorted((shared_data / "models").iterdir()):
        config = ModelConfig.from_hf(read_config(folder))
        assert file_weights(read_tensors(folder).values()) == foretold(config, "float32"), folder


@pytest.mark.parametrize("folder", ["Llama-2-7B", "Llama-3-70B", "Llama-3.2-1B-Instruct", "Qwen3-8B"])
def test_real_configs_have_the_expected_bytes_in_16_bits(shared_data: Path, folder: str) -> None:
    expected = read_config(shared_data / "configs" / "expected.json")[folder]
    config = ModelConfig.from_hf(read_config(shared_data / "configs" / folder))
    for dtype in ("bfloat16", "float16"):
        assert foretold(config, dtype) == FileWeights(expected["weight_bytes_16bit"], dtype)


def test_mixed_files_name_every_dtype_the_largest_first(tiny_model: Callable[..., Path]) -> None:
    tensors = list(read_tensors(tiny_model()).values())
    whole = sum(tensor.nbytes for tensor in tensors)
    scales = [TensorInfo(name, "BF16", (4,), 8, Path("x")) for name in ("a", "b")]
    assert file_weights([*scales, *tensors]) == FileWeights(whole + 16, "float32+bfloat16")
    codes = TensorInfo("codes", "I8", (2 * whole,), 2 * whole, Path("x"))
    assert file_weights([*tensors, codes]) == FileWeights(3 * whole, "I8+float32")
