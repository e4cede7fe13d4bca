"""Weights: what files of the model really hold, and the rows of published sizes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.estimate.weights import Weights, predict_weights, stored_weights
from llmkit.formats.model_folder import TensorInfo, read_config, read_tensors
from llmkit.model.config import ModelConfig
from llmkit.model.presets import PRESETS


@pytest.mark.parametrize(
    "config",
    [PRESETS["tiny"], PRESETS["nanogpt-cpu"], replace(PRESETS["nanogpt-cpu"], position="sinusoidal")],
    ids=["tied llama-like", "learned positions", "sinusoids"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_prediction_is_what_a_saved_model_holds(tmp_path: Path, config: ModelConfig, dtype: str) -> None:
    import torch

    from llmkit.model.load import save_model
    from llmkit.model.transformer import Transformer

    save_model(Transformer(config), tmp_path, dtype=getattr(torch, dtype))
    stored = stored_weights(read_tensors(tmp_path).values())
    assert stored == predict_weights(config, dtype)
    file_bytes = (tmp_path / "model.safetensors").stat().st_size
    header_bytes = 8 + int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little")
    assert stored.nbytes == file_bytes - header_bytes


def test_trained_models_are_as_large_as_their_configs_say(shared_data: Path) -> None:
    for folder in sorted((shared_data / "models").iterdir()):
        config = ModelConfig.from_hf(read_config(folder))
        assert stored_weights(read_tensors(folder).values()) == predict_weights(config, "float32"), folder


@pytest.mark.parametrize("folder", ["Llama-2-7B", "Llama-3-70B", "Llama-3.2-1B-Instruct", "Qwen3-8B"])
def test_real_configs_have_the_expected_bytes_in_16_bits(shared_data: Path, folder: str) -> None:
    expected = read_config(shared_data / "configs" / "expected.json")[folder]
    config = ModelConfig.from_hf(read_config(shared_data / "configs" / folder))
    for dtype in ("bfloat16", "float16"):
        assert predict_weights(config, dtype) == Weights(expected["weight_bytes_16bit"], dtype)


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float32", 32), ("bfloat16", 16), ("fp8", 8), ("int8", 8), ("int4", 4)]
)
def test_every_parameter_takes_the_bits_of_the_dtype(dtype: str, bits: int) -> None:
    assert predict_weights(PRESETS["llama-2-7b"], dtype).nbytes == 6_738_415_616 * bits // 8


def test_half_a_byte_is_rounded_up() -> None:
    odd = ModelConfig(
        vocab_size=1,
        hidden_size=1,
        intermediate_size=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        head_dim=2,
        tie_word_embeddings=True,
    )
    # 1 of the embedding, 8 of attention, 3 of the MLP, 3 of norms: 15 halves of a byte
    assert predict_weights(odd, "int4").nbytes == 8


def test_mixed_files_name_every_dtype_the_largest_first(tiny_model: Callable[..., Path]) -> None:
    tensors = list(read_tensors(tiny_model()).values())
    whole = sum(tensor.nbytes for tensor in tensors)
    scales = [TensorInfo(name, "BF16", (4,), 8, Path("x")) for name in ("a", "b")]
    assert stored_weights([*scales, *tensors]) == Weights(whole + 16, "float32+bfloat16")
    codes = TensorInfo("codes", "I8", (2 * whole,), 2 * whole, Path("x"))
    assert stored_weights([*tensors, codes]) == Weights(3 * whole, "I8+float32")
