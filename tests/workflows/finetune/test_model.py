"""The model of a run: what of it learns, what it is compared with, and what it leaves behind."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mxfp4_models import mxfp4_folder

from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.load import load_model
from llmkit.model.presets import preset
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.save import save_model
from llmkit.model.stretched import read_stretched
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.workflows.finetune.model import build_finetuned, build_reference, is_quantised, product_of
from llmkit.workflows.pretrain.model import ModelSource

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    **{"vocab_size": 32, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.2},
}
IDS = torch.arange(12)[None]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A random model's folder."""
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    save_model(model, tmp_path)
    return tmp_path


def _source(base: Path, scaling: str | None = None) -> ModelSource:
    shape, put_in = read_stretched(base, scaling)
    return ModelSource(shape, base, "sha", put_in)


def _learnt(model: Transformer) -> set[str]:
    return {name for name, one in model.named_parameters() if one.requires_grad}


def test_everything_learns_or_the_last_layers_or_adapters_alone(base: Path) -> None:
    names = {name for name, _ in load_model(base).named_parameters()}
    assert _learnt(build_finetuned(_source(base), FinetuneConfig(), CPU, None)) == names
    last = _learnt(build_finetuned(_source(base), FinetuneConfig(last_layers=1), CPU, None))
    assert last == {name for name in names if name.startswith("model.layers.1.")} | {"model.norm.weight"}
    lora = _learnt(build_finetuned(_source(base), FinetuneConfig(lora=LoraConfig(r=2)), CPU, None))
    assert lora and all(name.endswith(("lora_A", "lora_B")) for name in lora)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_mixture_is_saved_with_what_its_routers_losses_weighed(goes_on: bool, tmp_path: Path) -> None:
    shape = preset("tiny-moe", vocab_size=32, hidden_size=32, num_hidden_layers=1)
    save_model(Transformer(shape), tmp_path)
    assert shape.experts is not None
    experts = replace(shape.experts, router_aux_loss_coef=0.25, router_z_loss_coef=0.5)
    source = ModelSource(replace(shape, experts=experts), tmp_path, "sha")
    model = build_finetuned(source, FinetuneConfig(), CPU, tmp_path if goes_on else None)
    save_model(model, tmp_path)
    keys = json.loads((tmp_path / "config.json").read_text())
    assert (keys["router_aux_loss_coef"], keys["router_z_loss_coef"]) == (0.25, 0.5)


def test_a_fresh_adapter_changes_nothing(base: Path) -> None:
    with torch.no_grad():
        adapted = build_finetuned(_source(base), FinetuneConfig(lora=LoraConfig()), CPU, None)(IDS)
        torch.testing.assert_close(adapted, load_model(base)(IDS))


def test_qlora_keeps_four_bits_of_the_layers_matrices(base: Path) -> None:
    model = build_finetuned(_source(base), FinetuneConfig(lora=LoraConfig(), qlora=True), CPU, None)
    kept = [module for module in model.modules() if isinstance(module, QuantisedLinear)]
    assert len(kept) == 2 * 7 and not is_quantised(base)


def test_qlora_rounds_what_gpt_oss_as_it_is_published_has_beside_its_experts(tmp_path: Path) -> None:
    folder = mxfp4_folder(tmp_path)
    model = build_finetuned(_source(folder), FinetuneConfig(lora=LoraConfig(), qlora=True), CPU, None)
    kept = [name for name, one in model.named_modules() if isinstance(one, QuantisedLinear)]
    assert {name.removesuffix(".base").rpartition(".")[2] for name in kept} == {
        f"{one}_proj" for one in "qkvo"
    }


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)])
def test_the_reference_is_the_base_whatever_was_learnt(base: Path, lora: LoraConfig | None) -> None:
    config = FinetuneConfig(lora=lora)
    model = build_finetuned(_source(base), config, CPU, None)
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(0.1)
        expected = load_model(base)(IDS)
        with build_reference(_source(base), config, CPU)(model) as reference:
            torch.testing.assert_close(reference(IDS), expected)
        assert (model(IDS) - expected).abs().max() > 1e-3


def test_a_run_makes_a_model_or_pefts_folder(base: Path, byte_tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert product_of(FinetuneConfig(), base, byte_tokenizer).adapter is None
    config = FinetuneConfig(lora=LoraConfig(r=2))
    product = product_of(config, Path("base"), byte_tokenizer)
    assert product.adapter is not None
    folder = tmp_path / "adapter"
    folder.mkdir()
    product.adapter(build_finetuned(_source(base), config, CPU, None), folder)
    assert {one.name for one in folder.iterdir()} == set(product.files)


def test_a_stretched_base_is_trained_and_compared_with_at_its_longer_positions(base: Path) -> None:
    source, config = _source(base, "yarn:2"), FinetuneConfig()
    ids = torch.arange(24)[None] % 32
    _, scaling = read_stretched(base, "yarn:2")
    with torch.no_grad():
        expected = load_model(base, rope_scaling=scaling)(ids)
        model = build_finetuned(source, config, CPU, None)
        torch.testing.assert_close(model(ids), expected, rtol=0, atol=0)
        with build_reference(source, config, CPU)(model) as reference:
            torch.testing.assert_close(reference(ids), expected, rtol=0, atol=0)
    assert model.config.max_position_embeddings == 32
