"""Adapters that llmkit writes, as peft opens them: the same logits; and as llmkit reads them again."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from llmkit.errors import ConfigError, UsageError
from llmkit.model.adapters.add_lora import adapter_of, add_lora, attach_adapter
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.lora import adapter_parameters
from llmkit.model.adapters.save import save_adapter, write_adapter
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer


@pytest.fixture(scope="session")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


@pytest.fixture
def trained(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Callable[..., Transformer]:
    """A model with an adapter of which every number is at random."""

    def make(family: str = "llama", fields: dict[str, Any] | None = None, **lora: Any) -> Transformer:
        model = make_model(make_config(family, **(fields or {})), std=0.15)
        add_lora(model, LoraConfig(**lora), seed=1)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for name, parameter in adapter_parameters(model).items():
                if name.endswith("magnitude"):
                    parameter.mul_(1.0 + 0.2 * torch.rand(parameter.shape, generator=generator))
                else:
                    parameter.normal_(0.0, 0.1, generator=generator)
        return model.eval()

    return make


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # family, fields, LoraConfig, what adapter_config.json then says
    "all linear": (
        "llama",
        {},
        {},
        {
            "target_modules": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
            **{"r": 16, "lora_alpha": 32, "rank_pattern": {}, "alpha_pattern": {}},
        },
    ),
    "rslora": ("qwen3", {}, {"r": 8, "use_rslora": True}, {"lora_alpha": 32, "use_rslora": True}),
    "dora": ("qwen2", {}, {"r": 4, "use_dora": True}, {"use_dora": True}),
    "last layer": (
        "llama",
        {},
        {"targets": ("q_proj", "up_proj"), "layers": 1},
        {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
    ),
    "one module": (
        "llama",
        {},
        {"targets": r"model\.layers\.1\..*q_proj|model\.layers\.0\..*v_proj"},
        {"target_modules": ["model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.q_proj"]},
    ),
    "patterns": (
        "llama",
        {},
        {"r": 4, "rank_pattern": {"q_proj": 8, "1.mlp.up_proj": 2}, "alpha_pattern": {"o_proj": 3}},
        {"r": 4, "lora_alpha": 32},
    ),
    "whole": (
        "llama",
        {},
        {"targets": ("q_proj",), "modules_to_save": ("embed_tokens", "lm_head")},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
    ),
    "whole norms": (
        "qwen3",
        {},
        {"targets": ("q_proj",), "modules_to_save": ("model.norm", "k_norm")},
        {"modules_to_save": ["k_norm", "model.norm"]},
    ),
    "whole and tied": (
        "llama",
        {"tie_word_embeddings": True},
        {"targets": ("q_proj",), "modules_to_save": ("embed_tokens",)},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
    ),
    "tied head": ("llama", {"tie_word_embeddings": True}, {"targets": ("lm_head",)}, {}),
    "embedding": ("gemma2", {"tie_word_embeddings": True}, {"targets": ("embed_tokens", "q_proj")}, {}),
    "gpt2": (
        "gpt2",
        {},
        {},
        {"target_modules": ["c_attn", "c_fc", "c_proj"], "fan_in_fan_out": True, "r": 16, "rank_pattern": {}},
    ),
    "gpt2 queries alone": ("gpt2", {}, {"targets": ("q_proj",)}, {"target_modules": ["c_attn"], "r": 16}),
    "gpt2 one projection": (
        "gpt2",
        {},
        {"targets": ("self_attn.o_proj",)},
        {"target_modules": ["attn.c_proj"]},
    ),
    "gpt2 queries alone, dora": ("gpt2", {}, {"targets": ("q_proj",), "use_dora": True}, {}),
    "phi3": ("phi3", {}, {"use_rslora": True, "r": 4}, {"lora_alpha": 32, "r": 4}),
    "phi3 of two ranks": ("phi3", {}, {"rank_pattern": {"q_proj": 3}, "r": 4}, {}),
    "gpt_neox": ("gpt_neox", {}, {"use_dora": True, "targets": ("query_key_value", "dense")}, {}),
    "mixtral": (
        "mixtral",
        {},
        {},
        {"target_modules": ["k_proj", "o_proj", "q_proj", "v_proj"]},
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_opens_in_peft_with_equal_logits(
    case: str,
    trained: Callable[..., Transformer],
    peft: ModuleType,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    open_theirs: Callable[[Path], nn.Module],
    logit_gap: Callable[..., float],
    tmp_path: Path,
) -> None:
    family, fields, lora, expected = CASES[case]
    ours = trained(family, fields, **lora)
    base, folder = tmp_path / "base", tmp_path / "adapter"
    base.mkdir(), folder.mkdir()
    plain = make_model(make_config(family, **fields), std=0.15)
    save_model(plain, base)
    save_adapter(ours, folder, str(base))
    told = json.loads((folder / "adapter_config.json").read_text())
    assert {key: told[key] for key in expected} == expected

    theirs = peft.PeftModel.from_pretrained(open_theirs(base), folder).eval()
    tensors = load_file(folder / "adapter_model.safetensors")
    assert set(peft.get_peft_model_state_dict(theirs, save_embedding_layers=False)) == set(tensors)
    assert logit_gap(ours, theirs) < 1e-5
    assert logit_gap(plain, ours) > 1e-2

    again = load_model(base)
    attach_adapter(again, load_adapter(folder, again.config))
    assert logit_gap(again, ours) < 1e-5
    second = tmp_path / "second"
    second.mkdir()
    save_adapter(again, second, str(base))
    assert set(load_file(second / "adapter_model.safetensors")) == set(tensors)
    if fields == {} and "queries alone" not in case:  # nothing is filled up, nothing is rounded
        for name, tensor in load_file(second / "adapter_model.safetensors").items():
            assert torch.equal(tensor, tensors[name]), name


def test_the_same_values_give_the_same_bytes(trained: Callable[..., Transformer], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_adapter(trained("phi3"), tmp_path / name, "base")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_factors_of_queries_and_keys_that_differ_stand_in_blocks(
    make_config: Callable[..., ModelConfig], tmp_path: Path
) -> None:
    """The fused matrix's change is worked out by hand: rows of queries, then of keys, then of values."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))

    layer = "model.layers.0.self_attn"
    one, other = LowRank(drawn(2, 32), drawn(32, 2), 2.0), LowRank(drawn(3, 32), drawn(32, 3), 0.5)
    weights = AdapterWeights({f"{layer}.q_proj": one, f"{layer}.v_proj": other})
    write_adapter(tmp_path, weights, make_config("phi3"), "base")
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    A, B = (tensors[f"base_model.model.{layer}.qkv_proj.lora_{one}.weight"] for one in "AB")
    told = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"]) == (5, 10)
    expected = torch.cat([2.0 * one.B @ one.A, torch.zeros(32, 32), 0.5 * other.B @ other.A])
    torch.testing.assert_close(2.0 * B @ A, expected)


def test_dora_of_queries_alone_asks_for_the_lengths_of_the_keys(
    trained: Callable[..., Transformer], tmp_path: Path
) -> None:
    model = trained("phi3", targets=("q_proj",), use_dora=True)
    with pytest.raises(ConfigError, match="k_proj is not adapted"):
        write_adapter(tmp_path, adapter_of(model), model.config, "base")


def test_values_of_another_family_are_refused(
    make_config: Callable[..., ModelConfig], tmp_path: Path
) -> None:
    values = LowRank(torch.ones(1, 32), torch.ones(32, 1), 1.0)
    weights = AdapterWeights({"model.layers.9.self_attn.q_proj": values})
    with pytest.raises(ConfigError, match=r"layers\.9"):
        write_adapter(tmp_path, weights, make_config(), "base")


def test_a_model_without_an_adapter_has_none_to_write(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no adapter"):
        save_adapter(make_model(make_config()), tmp_path, "base")
