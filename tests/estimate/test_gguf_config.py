"""A GGUF file's metadata is the config.json of the same sizes; what is not covered is named."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.gguf_config import gguf_config
from llmkit.estimate.read_architecture import read_architecture
from llmkit.formats.gguf.header import GgufHeader, GgufTensorInfo, SkippedArray

SIZES = {
    **{"block_count": 32, "context_length": 8192, "embedding_length": 4096, "feed_forward_length": 14_336},
    **{"attention.head_count": 32, "attention.head_count_kv": 8},
    **{"attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5},
}


def _header(arch: str, *tensors: str, vocabulary: int = 128_256, **more: Any) -> GgufHeader:
    metadata = {f"{arch}.{key}": value for key, value in (SIZES | more).items()}
    names = ("token_embd.weight", *tensors)
    infos = tuple(GgufTensorInfo(name, (4096, vocabulary), "F16", 0, 0) for name in names)
    return GgufHeader(3, {"general.architecture": arch, **metadata}, infos, 0)


def test_llama_3_has_its_published_parameters() -> None:
    shape = read_architecture(gguf_config(_header("llama", "output.weight"), "x.gguf"))
    assert shape.parameters == 8_030_261_248
    tied = read_architecture(gguf_config(_header("llama"), "x.gguf"))
    assert tied.parameters == 8_030_261_248 - 128_256 * 4096


def test_a_llama_with_experts_is_mixtral() -> None:
    header = _header("llama", "output.weight", vocabulary=32_000, expert_count=8, expert_used_count=2)
    shape = read_architecture(gguf_config(header, "x.gguf"))
    assert (shape.parameters, shape.active_parameters) == (46_702_792_704, 12_879_925_248)


def test_a_list_of_equal_numbers_is_that_number() -> None:
    even = _header("llama", **{"attention.head_count_kv": [8] * 32})
    assert gguf_config(even, "x.gguf")["num_key_value_heads"] == 8
    for value in ([8, 4], SkippedArray(2000), 1.5):
        with pytest.raises(
            ConfigError, match=r"x.gguf: llama.attention.head_count_kv is not one whole number"
        ):
            gguf_config(_header("llama", **{"attention.head_count_kv": value}), "x.gguf")


def test_what_is_not_covered_is_named() -> None:
    with pytest.raises(ConfigError, match=r"general.architecture 'mamba' is not supported"):
        gguf_config(_header("mamba"), "x.gguf")
    other = (GgufTensorInfo("output_norm.weight", (4096,), "F32", 0, 0),)
    with pytest.raises(ConfigError, match=r"no tensor token_embd.weight"):
        gguf_config(GgufHeader(3, {"general.architecture": "llama"}, other, 0), "x.gguf")
    with pytest.raises(ConfigError, match=r"a vocabulary only"):
        gguf_config(GgufHeader(3, {"general.architecture": "llama"}, (), 0), "x.gguf")


@pytest.mark.parametrize("arch", ["qwen2", "qwen3", "gemma2", "gpt2", "phi3"])
def test_every_family_that_is_said_to_be_covered_is_read(arch: str) -> None:
    more = {"attention.head_count_kv": 32} if arch == "gpt2" else {}
    shape = read_architecture(gguf_config(_header(arch, **more), "x.gguf"))
    assert (shape.num_hidden_layers, shape.vocab_size, shape.hidden_size) == (32, 128_256, 4096)
