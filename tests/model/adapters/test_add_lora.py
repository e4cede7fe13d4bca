"""Adapters in a model: what fresh ones are, and what learns."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError, UsageError
from llmkit.model.adapters.add_lora import adapter_of, add_lora, attach_adapter, replace_module
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.lora import LoraLinear, adapter_parameters
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

IDS = torch.arange(24).view(2, 12)
Make = Callable[..., Transformer]


@pytest.fixture
def model(make_config: Callable[..., ModelConfig], make_model: Make) -> Make:
    return lambda family="llama", **fields: make_model(make_config(family, **fields))


def _values(model: Transformer) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in adapter_parameters(model).items()}


@pytest.mark.parametrize("fields", [{}, {"use_dora": True}, {"modules_to_save": ("embed_tokens", "norm")}])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_fresh_adapter_changes_nothing_and_alone_learns(
    family: str, fields: dict[str, Any], model: Make
) -> None:
    ours, base = model(family), model(family)
    add_lora(ours, LoraConfig(**fields), seed=0)
    torch.testing.assert_close(ours(IDS), base(IDS), rtol=1e-5, atol=1e-5 if "use_dora" in fields else 0)
    ours(IDS).square().mean().backward()
    learning = {name for name, one in ours.named_parameters() if one.grad is not None}
    assert learning == set(adapter_parameters(ours))
    assert all("lora_" in name or ".own." in name for name in learning)


def test_factors_follow_the_seed_and_the_name_alone(model: Make) -> None:
    one, other, few, second = model(), model(), model(), model()
    add_lora(one, LoraConfig(), seed=7)
    torch.manual_seed(99)
    torch.set_num_threads(2)
    add_lora(other, LoraConfig(), seed=7)
    add_lora(few, LoraConfig(targets=("down_proj",), layers=1), seed=7)
    add_lora(second, LoraConfig(), seed=8)
    values, again, some = _values(one), _values(other), _values(few)
    assert all(torch.equal(values[name], again[name]) for name in values)
    assert some and all(torch.equal(values[name], some[name]) for name in some)
    assert not any(torch.equal(values[n], _values(second)[n]) for n in values if n.endswith("lora_A"))
    drawn = [one for name, one in values.items() if name.endswith("lora_A")]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i] if a.shape == b.shape)


def test_a_is_uniform_as_kaiming_has_it_and_b_is_zero(model: Make) -> None:
    ours = model(intermediate_size=512)
    add_lora(ours, LoraConfig(targets=("down_proj",), r=64), seed=0)
    layer = ours.get_submodule("model.layers.0.mlp.down_proj")
    assert isinstance(layer, LoraLinear)
    reference = nn.init.kaiming_uniform_(torch.empty(64, 512), a=math.sqrt(5))
    bound = 512**-0.5
    assert layer.lora_A.abs().max() <= bound and reference.abs().max() <= bound
    assert abs(layer.lora_A.std() / reference.std() - 1) < 0.02
    assert not layer.lora_B.any()


def test_matrices_that_files_fuse_share_a(model: Make) -> None:
    ours = model("gpt2")
    add_lora(ours, LoraConfig(), seed=0)
    attention: Any = ours.model.layers[0].self_attn
    assert attention.q_proj.lora_A is attention.k_proj.lora_A is attention.v_proj.lora_A
    assert sum("lora_A" in name for name in adapter_parameters(ours)) == 2 * 4
    again = model("gpt2")
    attach_adapter(again, adapter_of(ours))
    assert len({id(one.A) for one in adapter_of(again).modules.values()}) == 2 * 4


def test_ranks_and_scales_of_patterns_are_the_modules_own(model: Make) -> None:
    ours = model()
    add_lora(ours, LoraConfig(r=4, rank_pattern={"q_proj": 2}, alpha_pattern={"k_proj": 8}), seed=0)
    modules = adapter_of(ours).modules
    found = {name[-6:]: (one.rank, one.scale) for name, one in modules.items() if "layers.0.self" in name}
    assert found["q_proj"] == (2, 16) and found["k_proj"] == (4, 2) and found["v_proj"] == (4, 8)


def test_a_tied_head_is_trained_with_its_embedding(model: Make) -> None:
    ours = model(tie_word_embeddings=True)
    add_lora(ours, LoraConfig(targets=("q_proj",), modules_to_save=("embed_tokens",)), seed=0)
    with torch.no_grad():
        next(one for name, one in adapter_parameters(ours).items() if ".own." in name).mul_(2)
    weights = adapter_of(ours)
    assert torch.equal(weights.whole["lm_head.weight"], weights.whole["model.embed_tokens.weight"])
    again = model(tie_word_embeddings=True)
    attach_adapter(again, weights)
    assert torch.equal(again(IDS), ours(IDS))


def test_an_attached_adapter_learns_no_more_and_keeps_its_dropout(model: Make) -> None:
    source, ours = model(), model()
    add_lora(source, LoraConfig(r=2, dropout=0.1), seed=0)
    attach_adapter(ours, adapter_of(source))
    assert not adapter_parameters(ours) and not any(one.requires_grad for one in ours.parameters())
    assert adapter_of(ours).dropout == 0.1


def test_a_second_adapter_is_refused(model: Make) -> None:
    ours = model()
    add_lora(ours, LoraConfig(), seed=0)
    with pytest.raises(UsageError, match="an adapter already"):
        add_lora(ours, LoraConfig(), seed=0)
    with pytest.raises(UsageError, match="no adapter"):
        adapter_of(model())


def test_whole_tensors_that_do_not_fit_are_refused(model: Make) -> None:
    with pytest.raises(ConfigError, match=r"is \[81, 32\] in the adapter"):
        attach_adapter(model(), AdapterWeights({}, {"lm_head.weight": torch.ones(81, 32)}))
    values = LowRank(torch.ones(1, 32), torch.ones(80, 1), 1.0)
    both = AdapterWeights({"lm_head": values}, {"lm_head.weight": torch.ones(80, 32)})
    with pytest.raises(ConfigError, match="trained on other numbers"):
        attach_adapter(model(), both)


def test_a_replaced_module_is_in_the_mode_of_the_one_before(model: Make) -> None:
    ours = model()
    replace_module(ours, "model.layers.0.mlp.up_proj", nn.Linear(32, 48))
    assert not ours.get_submodule("model.layers.0.mlp.up_proj").training
