"""Adapters that peft writes, as llmkit reads them: the same logits on the same weights."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.model.adapters.add_lora import attach_adapter
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.lora import without_adapters
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer


@pytest.fixture(scope="session")
def peft() -> ModuleType:
    return pytest.importorskip("peft")


@pytest.fixture
def peft_adapter(
    peft: ModuleType,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    open_theirs: Callable[[Path], nn.Module],
    tmp_path: Path,
) -> Callable[..., tuple[Path, Path, nn.Module]]:
    """A model's folder, an adapter's with every tensor at random, and peft's model of both."""

    def make(family: str = "llama", fields: dict[str, Any] | None = None, **lora: Any) -> Any:
        base, folder = tmp_path / "base", tmp_path / "adapter"
        base.mkdir()
        save_model(make_model(make_config(family, **(fields or {})), std=0.15), base)
        config = peft.LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 10, **lora})
        theirs = peft.get_peft_model(open_theirs(base), config).eval()
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                if parameter.requires_grad and "magnitude" not in name:
                    parameter.normal_(0.0, 0.1, generator=generator)
                elif parameter.requires_grad:
                    parameter.mul_(1.0 + 0.2 * torch.rand(parameter.shape, generator=generator))
        theirs.save_pretrained(folder)
        return base, folder, theirs

    return make


EVERYTHING = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "lora": ("llama", {}, {"target_modules": EVERYTHING}),
    "one target": ("qwen3", {}, {"target_modules": ["q_proj"]}),
    "all linear": ("qwen2", {}, {"target_modules": "all-linear"}),
    "rslora": ("llama", {}, {"target_modules": ["q_proj", "down_proj"], "use_rslora": True}),
    "dora": ("llama", {}, {"target_modules": EVERYTHING, "use_dora": True}),
    "dora with biases": ("qwen2", {}, {"target_modules": EVERYTHING, "use_dora": True}),
    "patterns": (
        "llama",
        {},
        {
            **{"target_modules": EVERYTHING, "rank_pattern": {"q_proj": 8, "layers.1.mlp.up_proj": 2}},
            **{"alpha_pattern": {"mlp.*proj": 5, "layers.0.self_attn.v_proj": 3}},
        },
    ),
    "some layers": ("llama", {}, {"target_modules": ["v_proj"], "layers_to_transform": [1]}),
    "head": ("llama", {}, {"target_modules": ["lm_head", "q_proj"]}),
    "whole": ("llama", {}, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
    "whole norm": ("llama", {}, {"target_modules": ["q_proj"], "modules_to_save": ["model.norm"]}),
    "whole and tied": (
        "llama",
        {"tie_word_embeddings": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ),
    "embedding": ("llama", {}, {"target_modules": ["q_proj", "embed_tokens"]}),
    "scaled tied embedding": (
        "gemma2",
        {"tie_word_embeddings": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ),
    "gpt2": ("gpt2", {}, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "gpt2 dora": ("gpt2", {}, {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
    "phi3": ("phi3", {}, {"target_modules": ["qkv_proj", "gate_up_proj", "down_proj"]}),
    "phi3 dora": ("phi3", {}, {"target_modules": ["qkv_proj", "gate_up_proj"], "use_dora": True}),
    "gpt_neox": (
        "gpt_neox",
        {},
        {"target_modules": ["query_key_value", "dense", "dense_h_to_4h", "lm_head"]},
    ),
    "gpt_neox dora": ("gpt_neox", {}, {"target_modules": ["query_key_value"], "use_dora": True}),
    "mixtral's attention": ("mixtral", {}, {"target_modules": ["q_proj", "o_proj"]}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_an_adapter_of_peft_gives_the_logits_that_it_gives_in_peft(
    case: str, peft_adapter: Callable[..., tuple[Path, Path, nn.Module]], logit_gap: Callable[..., float]
) -> None:
    family, fields, lora = CASES[case]
    base, folder, theirs = peft_adapter(family, fields, **lora)
    ours = load_model(base)
    attach_adapter(ours, load_adapter(folder, ours.config))
    assert logit_gap(ours, theirs) < 1e-5
    with without_adapters(ours), theirs.disable_adapter():
        assert logit_gap(ours, theirs) < 1e-5
    plain = load_model(base)
    assert logit_gap(plain, ours) > 1e-2  # the adapter does something


def _changed(folder: Path, config: dict[str, Any] | None = None, tensors: Any = None) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    if tensors is not None:
        file = folder / "adapter_model.safetensors"
        save_file({name: one.contiguous() for name, one in tensors(load_file(file)).items()}, file)


@pytest.fixture
def small(make_config: Callable[..., ModelConfig], tmp_path: Path) -> tuple[Path, ModelConfig]:
    """An adapter written by hand as peft lays it out: one module."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {f"{name}.lora_A.weight": torch.ones(2, 32), f"{name}.lora_B.weight": torch.ones(32, 2)},
        folder / "adapter_model.safetensors",
    )
    return folder, make_config()


def test_a_change_by_hand_is_alpha_over_r_times_the_product(small: tuple[Path, ModelConfig]) -> None:
    weights = load_adapter(*small)
    (name, values), *_ = weights.modules.items()
    assert name == "model.layers.0.self_attn.q_proj"
    assert torch.equal(values.delta(), torch.full((32, 32), 4.0))  # 4 / 2 * (1 + 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("peft_type", "LOHA"), ("bias", "all"), ("lora_bias", True), ("trainable_token_indices", [1])],
        *[("init_lora_weights", "pissa_niter_4"), ("target_parameters", ["x"]), ("unheard_of", True)],
    ],
)
def test_a_key_that_changes_the_arithmetic_is_refused_by_name(
    key: str, value: object, small: tuple[Path, ModelConfig]
) -> None:
    _changed(small[0], {key: value})
    with pytest.raises(ConfigError, match=key):
        load_adapter(*small)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if "lora_A" in k}, "q_proj has no lora_B"),
        (lambda t: {k.replace("lora_A", "lora_magnitude_vector"): v for k, v in t.items()}, "no lora_A"),
        (lambda t: {k: v[:1] if "lora_A" in k else v for k, v in t.items()}, "no rank of 2"),
        (
            lambda t: {k: v[:, :30].clone() if "lora_A" in k else v for k, v in t.items()},
            r"matrix of \[32, 32\]",
        ),
        (lambda t: {k: v.int() for k, v in t.items()}, "stored as I32"),
        (lambda t: {}, "no tensor of an adapter"),
    ],
)
def test_damaged_tensors_are_refused_by_name(
    make: Any, message: str, small: tuple[Path, ModelConfig]
) -> None:
    _changed(small[0], tensors=make)
    with pytest.raises(DataError, match=message):
        load_adapter(*small)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("self_attn.q_proj", "mlp.experts.0.w1", "of experts"),
        ("self_attn.q_proj", "self_attn.c_attn", "c_attn, which a llama model does not have"),
        ("layers.0", "layers.7", "layers.7.*does not have"),
    ],
)
def test_a_module_that_the_model_lacks_is_refused_rather_than_ignored(
    old: str, new: str, message: str, small: tuple[Path, ModelConfig]
) -> None:
    _changed(small[0], tensors=lambda t: {k.replace(old, new): v for k, v in t.items()})
    with pytest.raises(ConfigError, match=message):
        load_adapter(*small)


def test_lengths_without_use_dora_are_refused(small: tuple[Path, ModelConfig]) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    _changed(small[0], tensors=lambda t: t | {name: torch.ones(32)})
    with pytest.raises(DataError, match="use_dora false"):
        load_adapter(*small)


def test_a_whole_tensor_that_the_model_lacks_is_refused(small: tuple[Path, ModelConfig]) -> None:
    _changed(small[0], tensors=lambda t: t | {"base_model.model.score.weight": torch.ones(2, 2)})
    with pytest.raises(ConfigError, match=r"score\.weight"):
        load_adapter(*small)


def test_a_pickle_is_named_and_not_read(small: tuple[Path, ModelConfig]) -> None:
    (small[0] / "adapter_model.safetensors").rename(small[0] / "adapter_model.bin")
    with pytest.raises(MissingError, match="never read"):
        load_adapter(*small)


def test_heads_of_gpt_neox_have_the_name_of_either_release(
    make_config: Callable[..., ModelConfig], small: tuple[Path, ModelConfig]
) -> None:
    config = make_config("gpt_neox")
    for name in ("lm_head", "embed_out"):
        _changed(
            small[0],
            tensors=lambda t, name=name: {
                f"base_model.model.{name}.lora_A.weight": torch.ones(2, 32),
                f"base_model.model.{name}.lora_B.weight": torch.ones(80, 2),
            },
        )
        assert list(load_adapter(small[0], config).modules) == ["lm_head"]
