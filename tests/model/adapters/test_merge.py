"""A merged model is an ordinary one with the logits of the adapted one, here and in transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from llmkit.model.adapters.add_lora import adapter_of, add_lora, attach_adapter
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.lora import Adapted, adapter_parameters
from llmkit.model.adapters.merge import merge_adapter
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.quantised.base import quantise_base
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

IDS = torch.arange(24).view(2, 12)
CASES: list[tuple[str, bool, dict[str, Any]]] = [
    ("llama", False, {}),
    ("gpt2", True, {"use_dora": True}),
    ("phi3", False, {"use_rslora": True}),
    ("llama", False, {"targets": ("lm_head", "embed_tokens")}),
    ("llama", True, {"targets": ("lm_head",)}),
    ("llama", True, {"targets": ("embed_tokens",)}),
    ("llama", True, {"modules_to_save": ("embed_tokens", "norm")}),
    ("llama", True, {"modules_to_save": ("lm_head",)}),
]


def _trained(model: Transformer, **fields: Any) -> Transformer:
    add_lora(model, LoraConfig(**{"r": 4, **fields}), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in adapter_parameters(model).values():
            one.add_(0.1 * torch.randn(one.shape, generator=generator))
    return model


@pytest.mark.parametrize(("family", "tied", "fields"), CASES)
def test_merging_keeps_the_logits_and_leaves_an_ordinary_model(
    family: str,
    tied: bool,
    fields: dict[str, Any],
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    open_theirs: Callable[[Path], nn.Module],
    tmp_path: Path,
) -> None:
    model = _trained(make_model(make_config(family, tie_word_embeddings=tied), std=0.1), **fields)
    before = model(IDS)
    merge_adapter(model)
    assert not any(isinstance(module, Adapted) for module in model.modules())
    torch.testing.assert_close(model(IDS), before, rtol=1e-4, atol=1e-5)
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path)(IDS), model(IDS))
    torch.testing.assert_close(open_theirs(tmp_path)(IDS).logits, before, rtol=1e-4, atol=1e-5)


def test_a_tied_head_that_is_left_to_the_base_is_untied(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    """As peft has it: modules_to_save with the embedding alone leaves the head to the base."""
    source = _trained(make_model(make_config(tie_word_embeddings=True)), modules_to_save=("embed_tokens",))
    weights = adapter_of(source)
    alone = {name: one for name, one in weights.whole.items() if name != "lm_head.weight"}
    model = make_model(make_config(tie_word_embeddings=True))
    attach_adapter(model, type(weights)(weights.modules, alone))
    before = model(IDS)
    merge_adapter(model)
    assert not model.config.tie_word_embeddings
    torch.testing.assert_close(model(IDS), before, rtol=1e-4, atol=1e-5)


def test_codes_become_numbers_with_the_change_in_them(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    model = make_model(make_config())
    quantise_base(model)
    _trained(model, targets=("q_proj",))
    before = model(IDS)
    merge_adapter(model)
    assert not any(isinstance(module, QuantisedLinear | Adapted) for module in model.modules())
    torch.testing.assert_close(model(IDS), before, rtol=1e-4, atol=1e-5)
