"""Models opened to be looked into, against the engine's own reading of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import DataError, UsageError
from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.save import save_adapter
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.inspect_attention.open import InspectOptions, open_inspected

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _logits(folder: Path, **options: Any) -> torch.Tensor:
    opened = open_inspected(InspectOptions(model=folder, **options))
    with torch.no_grad():
        return opened.model(IDS).float()


def _save(model: Transformer, folder: Path) -> None:
    folder.mkdir()
    save_adapter(model, folder, "base")


def test_a_model_has_its_weights_and_its_tokenizer(folder: Path) -> None:
    opened = open_inspected(InspectOptions(model=folder))
    torch.testing.assert_close(opened.model(IDS), load_model(folder)(IDS))
    assert opened.encoder.encode("a cat") == opened.tokenizer.backend.encode("a cat").ids
    assert not opened.model.training
    assert not any(one.requires_grad for one in opened.model.parameters())


def test_an_adapter_is_merged_at_its_strength(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    add_lora(model, LoraConfig(r=2, alpha=8.0), seed=0)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:
                one.fill_(0.1)
    _save(model, tmp_path / "a")
    base, whole = _logits(folder), _logits(folder, adapter=str(tmp_path / "a"))
    torch.testing.assert_close(whole, model(IDS).detach(), rtol=1e-4, atol=1e-4)
    assert (whole - base).abs().max() > 0.01
    none = _logits(folder, adapter=f"{tmp_path / 'a'}:0")
    torch.testing.assert_close(none, base)


def test_the_dtype_asked_for_is_the_weights(folder: Path) -> None:
    opened = open_inspected(InspectOptions(model=folder, dtype="bfloat16"))
    assert opened.model.model.embed_tokens.weight.dtype == torch.bfloat16
    assert open_inspected(InspectOptions(model=folder)).model.lm_head.weight.dtype == torch.float32


def test_threads_are_those_asked_for(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        open_inspected(InspectOptions(model=folder, threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_positions_are_scaled_as_asked(folder: Path) -> None:
    scaled = open_inspected(InspectOptions(model=folder, rope_scaling="linear:4"))
    assert scaled.model.config.rope_scaling == {"rope_type": "linear", "factor": 4.0}


def test_a_tokenizer_of_another_model_is_refused(
    tiny_model: Callable[..., Path], byte_level_dir: Path
) -> None:
    small = tiny_model("small", vocab_size=40)
    with pytest.raises(DataError, match="the model 40 rows"):
        open_inspected(InspectOptions(model=small, tokenizer=byte_level_dir))


def test_part_of_a_dora_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    add_lora(model, LoraConfig(r=2, alpha=8.0, use_dora=True), seed=0)
    _save(model, tmp_path / "d")
    torch.testing.assert_close(_logits(folder, adapter=str(tmp_path / "d")), _logits(folder))
    with pytest.raises(UsageError, match=r"a strength of 0\.5"):
        open_inspected(InspectOptions(model=folder, adapter=f"{tmp_path / 'd'}:0.5"))
