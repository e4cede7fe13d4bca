"""Adapters as GGUF files: llama.cpp and the gguf package read what is written, and we read it back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf_models
import numpy as np
import pytest
import torch
from torch import nn

from llmkit.errors import ConfigError, DataError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.write import GgufTensor, write_gguf
from llmkit.model.adapters.add_lora import attach_adapter
from llmkit.model.adapters.gguf import gguf_adapter, load_gguf_adapter
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.transformer import Transformer
from tests.model.conftest import logits_of
from tests.parity.llama_cpp import llama_cpp_logits

IDS = [3, 17, 5, 60, 22, 9, 41, 8]
EVERYTHING = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _modules(model: Transformer, ends: tuple[str, ...]) -> Iterator[tuple[str, nn.Module]]:
    return ((name, one) for name, one in model.named_modules() if name.rpartition(".")[2] in ends)


def _random(model: Transformer, ends: tuple[str, ...], scale: float = 2.5, rank: int = 4) -> AdapterWeights:
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    modules = {}
    for name, one in _modules(model, ends):
        rows, columns = one.weight.shape  # type: ignore[union-attr, misc]
        modules[name] = LowRank(drawn(rank, int(columns)), drawn(int(rows), rank), scale)
    return AdapterWeights(modules=modules)


def _write(path: Path, metadata: Any, tensors: list[GgufTensor]) -> Path:
    with path.open("wb") as stream:
        write_gguf(stream, metadata, tensors)
    return path


def _written(path: Path, weights: AdapterWeights, config: ModelConfig, dtype: str | None = None) -> Path:
    content = gguf_adapter(weights, config, dtype, "its/base")
    return _write(path, content.metadata, content.tensors)


def _base(path: Path, model: Transformer) -> Path:
    content = gguf_model(model, "float32")
    return _write(path, content.metadata | {"tokenizer.ggml.model": "no_vocab"}, content.tensors)


@pytest.fixture
def made(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer], tmp_path: Path
) -> Callable[..., tuple[Transformer, AdapterWeights, Path]]:
    """A model, an adapter of it, and the adapter's file."""

    def make(
        family: str, ends: tuple[str, ...] = EVERYTHING, **fields: Any
    ) -> tuple[Transformer, AdapterWeights, Path]:
        model = make_model(make_config(family, **fields), std=0.15)
        weights = _random(model, ends)
        return model, weights, _written(tmp_path / "adapter.gguf", weights, model.config)

    return make


DELTA_ENDS = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")
GEMMA = {
    **{"tie_word_embeddings": True, "attention_scale": 8**-0.5},
    **{"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
}
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any], float]] = {
    "llama, whose q and k are in turns": ("llama", EVERYTHING, {}, 1e-4),
    "one target": ("llama", ("k_proj",), {}, 1e-4),
    "head and embedding": ("llama", ("embed_tokens", "lm_head", "q_proj"), {}, 1e-4),
    "up alone of a gated MLP": ("qwen2", ("up_proj",), {}, 1e-4),
    "qwen3": ("qwen3", EVERYTHING, {}, 1e-4),
    "phi3, which joins q, k and v": ("phi3", EVERYTHING, {}, 1e-4),
    "phi3, q alone": ("phi3", ("q_proj", "up_proj"), {}, 1e-4),
    "gemma2": ("gemma2", EVERYTHING, GEMMA, 2e-3),
    "gpt2": ("gpt2", EVERYTHING, {}, 2e-3),
    "granite's hybrids": ("granitemoehybrid", (*EVERYTHING, "in_proj", "out_proj"), {}, 1e-4),
    "nemotron-h": ("nemotron_h", (*EVERYTHING, "in_proj", "out_proj"), {}, 1e-4),
    "qwen3.5, whose heads are in another order": ("qwen3_5_text", (*EVERYTHING, *DELTA_ENDS), {}, 1e-3),
}
"""Family, modules, fields, and the largest gap: llama.cpp reads GELU from a table of float16; and what the
delta rule reads at the first positions is small here, of which a norm makes much."""


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_with_the_file_what_we_compute_with_the_adapter(
    case: str, made: Callable[..., tuple[Transformer, AdapterWeights, Path]], tmp_path: Path
) -> None:
    family, ends, fields, bound = CASES[case]
    model, weights, file = made(family, ends, **fields)
    theirs = np.array(llama_cpp_logits(_base(tmp_path / "base.gguf", model), IDS, file))
    plain = _logits(model)
    attach_adapter(model, weights)
    assert np.abs(_logits(model) - theirs).max() < bound
    assert np.abs(plain - theirs).max() > 20 * bound  # the adapter does something


@pytest.mark.parametrize("case", [*CASES, "gpt_neox"])
def test_an_adapter_comes_back_from_its_file_bit_for_bit(
    case: str, made: Callable[..., tuple[Transformer, AdapterWeights, Path]]
) -> None:
    family, ends, fields, _ = CASES.get(case, (case, EVERYTHING, {}, 0.0))
    model, weights, file = made(family, ends, **fields)
    again = load_adapter(file, model.config)
    assert again.base == "its/base"
    if "phi3" in case or family in ("gpt2", "gpt_neox"):  # one matrix of several of ours: ranks add up
        assert weights.modules.keys() <= again.modules.keys()
        for name, one in again.modules.items():
            before = weights.modules.get(name)
            expected = torch.zeros(()) if before is None else before.delta()
            assert torch.allclose(one.delta(), expected, atol=1e-6)
        return
    assert again.modules.keys() == weights.modules.keys()
    for name, one in again.modules.items():
        before = weights.modules[name]
        assert torch.equal(one.A, before.A) and torch.equal(one.B, before.B) and one.scale == before.scale


def test_the_gguf_package_finds_the_keys_and_factors_that_convert_lora_to_gguf_writes(
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]],
) -> None:
    gguf = pytest.importorskip("gguf")
    model, weights, file = made("llama", ("q_proj", "embed_tokens"))
    reader = gguf.GGUFReader(file)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    assert (keys["general.type"], keys["adapter.type"], keys["general.architecture"]) == (
        *("adapter", "lora"),
        "llama",
    )
    assert keys["adapter.lora.alpha"] == 10.0  # 2.5 times the rank
    found = {one.name: one.data for one in reader.tensors}
    q = weights.modules["model.layers.0.self_attn.q_proj"]
    heads = model.config.num_attention_heads
    permuted = q.B.reshape(heads, 2, -1, q.rank).swapaxes(1, 2).reshape(q.B.shape)  # as LlamaModel.permute
    assert np.array_equal(found["blk.0.attn_q.weight.lora_a"], q.A.numpy())
    assert np.array_equal(found["blk.0.attn_q.weight.lora_b"], permuted.numpy())
    embedding = weights.modules["model.embed_tokens"]
    assert np.array_equal(found["token_embd.weight.lora_a"], embedding.B.numpy())  # (V, r)
    assert np.array_equal(found["token_embd.weight.lora_b"], embedding.A.t().numpy())  # (D, r)


def test_scales_that_one_alpha_cannot_say_go_into_the_second_factor(
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]], tmp_path: Path
) -> None:
    model, weights, _ = made("llama", ("q_proj", "v_proj"))
    name = "model.layers.1.self_attn.v_proj"
    one = weights.modules[name]
    uneven = AdapterWeights({**weights.modules, name: LowRank(one.A.half(), one.B.half(), 0.7)})
    content = gguf_adapter(uneven, model.config, None, None)
    assert content.dtype == "float32"
    again = load_adapter(_write(tmp_path / "b.gguf", content.metadata, content.tensors), model.config)
    assert again.modules[name].scale == 2.5 and again.base is None
    assert torch.allclose(again.modules[name].delta(), uneven.modules[name].delta(), rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "stored", "bound"),
    [("float16", "F16", 1e-3), ("bfloat16", "BF16", 1e-2), ("q8_0", "Q8_0", 2e-2)],
)
def test_factors_are_stored_as_asked_and_narrow_rows_of_q8_0_as_float16(
    dtype: str,
    stored: str,
    bound: float,
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]],
    tmp_path: Path,
) -> None:
    model, weights, _ = made("llama", ("up_proj",))
    file = _written(tmp_path / "b.gguf", weights, model.config, dtype)
    types = {one.name: one.type for one in read_gguf_header(file).tensors}
    assert types["blk.0.ffn_up.weight.lora_a"] == stored
    assert types["blk.0.ffn_up.weight.lora_b"] == ("F16" if dtype == "q8_0" else stored)  # rank 4
    again = load_adapter(file, model.config)
    for name, one in again.modules.items():
        assert (one.delta() - weights.modules[name].delta()).abs().max() < bound


def test_factors_of_bfloat16_stay_bfloat16_by_themselves(
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]],
) -> None:
    model, weights, _ = made("llama", ("up_proj",))
    narrow = {name: LowRank(one.A.bfloat16(), one.B.bfloat16(), 2.0) for name, one in weights.modules.items()}
    assert gguf_adapter(AdapterWeights(narrow), model.config, None, None).dtype == "bfloat16"


def test_without_an_alpha_products_are_added_as_they_are(
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]], tmp_path: Path
) -> None:
    model, weights, _ = made("llama", ("up_proj",))
    content = gguf_adapter(weights, model.config, None, None)
    del content.metadata["adapter.lora.alpha"]
    again = load_adapter(_write(tmp_path / "b.gguf", content.metadata, content.tensors), model.config)
    assert {one.scale for one in again.modules.values()} == {1.0}


REFUSED: dict[str, tuple[Callable[[AdapterWeights], AdapterWeights], dict[str, Any], str]] = {
    "whole": (
        lambda one: AdapterWeights(one.modules, {"model.norm.weight": torch.ones(32)}),
        {},
        r"whole tensors \(found model\.norm\.weight",
    ),
    "dora": (
        lambda one: AdapterWeights(
            {name: LowRank(low.A, low.B, 1.0, torch.ones(len(low.B))) for name, low in one.modules.items()}
        ),
        {},
        "no DoRA",
    ),
    "tied embedding": (
        lambda one: AdapterWeights(
            {"model.embed_tokens": LowRank(torch.ones(1, 32), torch.ones(80, 1), 1.0)}
        ),
        {"tie_word_embeddings": True},
        "embed_tokens where the head is the embedding",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_has_no_words_for_is_refused_by_name(
    case: str, made: Callable[..., tuple[Transformer, AdapterWeights, Path]]
) -> None:
    change, fields, message = REFUSED[case]
    model, weights, _ = made("llama", ("q_proj",), **fields)
    with pytest.raises(ConfigError, match=message):
        gguf_adapter(change(weights), model.config, None, None)


def test_factors_of_latent_attention_are_refused_by_name() -> None:
    config = ModelConfig.from_hf({"model_type": "deepseek_v3", **gguf_models.SIZES, **gguf_models.LATENT})
    weights = AdapterWeights(
        {"model.layers.0.self_attn.kv_b_proj": LowRank(torch.ones(1, 8), torch.ones(64, 1), 1.0)}
    )
    with pytest.raises(ConfigError, match="kv_b_proj"):
        gguf_adapter(weights, config, None, None)


def test_factors_of_qwen3_nexts_inputs_are_refused_by_name() -> None:
    changes = {**gguf_models.SHARED, **gguf_models.DELTA}
    config = ModelConfig.from_hf({"model_type": "qwen3_next", **gguf_models.SIZES, **changes})
    name = "model.layers.0.linear_attn.in_proj_qkvz"  # two matrices in a file, with one A
    weights = AdapterWeights({name: LowRank(torch.ones(1, 64), torch.ones(256, 1), 1.0)})
    with pytest.raises(ConfigError, match=r"no factors of .*in_proj_qkvz"):
        gguf_adapter(weights, config, None, None)


def test_an_adapter_of_another_model_is_refused(
    made: Callable[..., tuple[Transformer, AdapterWeights, Path]], make_config: Callable[..., ModelConfig]
) -> None:
    _, _, file = made("llama", ("up_proj", "q_proj"))
    with pytest.raises(ConfigError, match="of a model of llama, and this one is of qwen2"):
        load_gguf_adapter(file, make_config("qwen2"))
    with pytest.raises(ConfigError, match=r"blk\.1\..*nearest"):
        load_gguf_adapter(file, make_config("llama", num_hidden_layers=1))
    with pytest.raises(DataError, match=r"ffn_up\.weight.*\[40, 32\]"):
        load_gguf_adapter(file, make_config("llama", intermediate_size=40))


def _logits(model: Transformer) -> np.ndarray[Any, Any]:
    return logits_of(model, torch.tensor([IDS]))[0].detach().numpy()
