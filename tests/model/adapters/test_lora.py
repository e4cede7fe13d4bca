"""The modules of an adapter: gradients as in peft, lengths as they are defined, and the switch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.lora import (
    LoraEmbedding,
    LoraLinear,
    Retrained,
    adapter_parameters,
    dense_weight,
    product,
    without_adapters,
)
from llmkit.model.adapters.names import peft_modules
from llmkit.model.adapters.save import save_adapter
from llmkit.model.adapters.weights import LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.quantised.nf4 import nf4
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

IDS = torch.arange(24).view(2, 12) * 3


def _drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gpt_neox"])
def test_loss_and_gradients_are_those_of_peft(
    family: str,
    use_dora: bool,
    make_config: Callable[..., ModelConfig],
    make_model: Callable[..., Transformer],
    open_theirs: Callable[[Path], nn.Module],
    tmp_path: Path,
) -> None:
    """Fused families learn with one A for queries, keys and values, as peft does."""
    peft = pytest.importorskip("peft")
    model = make_model(make_config(family), std=0.1)
    base, folder = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    folder.mkdir()
    save_model(model, base)
    add_lora(model, LoraConfig(r=4, use_dora=use_dora), seed=0)
    with torch.no_grad():
        for name, one in adapter_parameters(model).items():
            if name.endswith("lora_B"):
                one.copy_(0.1 * _drawn(*one.shape))
    save_adapter(model, folder, str(base))
    theirs = peft.PeftModel.from_pretrained(open_theirs(base), folder, is_trainable=True)

    ours_loss = F.cross_entropy(model(IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    their_loss = theirs(IDS, labels=IDS).loss
    assert abs(ours_loss.item() - their_loss.item()) < 1e-5
    ours_loss.backward()
    their_loss.backward()
    expected = {
        name.removeprefix("base_model.model.").replace(".default", "").removesuffix(".weight"): one.grad
        for name, one in theirs.named_parameters()
        if one.requires_grad
    }
    held = {name: by for by in peft_modules(model.config) for name in by.ours}
    found = 0
    for name, module in model.named_modules():
        if not isinstance(module, LoraLinear):
            continue
        by = held[name]
        row = by.ours.index(name)
        parts = {"lora_A": (module.lora_A, None), "lora_B": (module.lora_B, row)}
        if module.lora_magnitude is not None:
            parts["lora_magnitude_vector"] = (module.lora_magnitude, row)
        for part, (parameter, index) in parts.items():
            gradient = expected[f"{by.name}.{part}"]
            gradient = gradient if index is None else by.split(gradient)[index]
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)
            found += 1
    assert found >= 2 * len(expected) // 3


def test_lengths_of_dora_are_those_of_the_changed_rows() -> None:
    """Against the whole matrix written out, over numbers and over codes."""
    weight = _drawn(48, 128)
    plain = nn.Linear(128, 48)
    plain.weight = nn.Parameter(weight)
    values = LowRank(_drawn(4, 128), _drawn(48, 4), 0.7, torch.linspace(0.5, 2, 48))
    for base in (plain, QuantisedLinear(nf4(weight))):
        layer = LoraLinear(base, values)
        changed = dense_weight(base) + 0.7 * values.B @ values.A
        torch.testing.assert_close(layer.lengthening(), values.magnitude / changed.norm(dim=1))
        x = _drawn(3, 128)
        bias = 0 if base.bias is None else base.bias
        merged = values.merged(dense_weight(base).detach())
        torch.testing.assert_close(layer(x), x @ merged.t() + bias, rtol=1e-4, atol=1e-4)


def test_an_embedding_gets_the_row_of_its_id() -> None:
    embedding = nn.Embedding(6, 4)
    values = LowRank(_drawn(2, 4), _drawn(6, 2), 3.0)
    layer = LoraEmbedding(embedding, values)
    merged = values.merged(embedding.weight.detach())
    torch.testing.assert_close(layer(torch.tensor([[5, 0]])), merged[torch.tensor([[5, 0]])])


def test_dropout_is_of_the_low_rank_part_and_of_training_alone() -> None:
    base = nn.Linear(8, 8)
    layer = LoraLinear(base, LowRank(_drawn(2, 8), _drawn(8, 2), 1.0), dropout=0.5)
    x = _drawn(4, 8)
    torch.manual_seed(0)
    learning = layer.train()(x)
    torch.manual_seed(0)
    dropped = F.dropout(x, 0.5)
    torch.testing.assert_close(learning, base(x) + dropped @ layer.lora_A.t() @ layer.lora_B.t())
    assert torch.equal(layer.eval()(x), layer(x))


def test_without_adapters_the_model_is_its_base_and_is_as_before_after_that(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    model, base = make_model(make_config()), make_model(make_config())
    config = LoraConfig(targets=("q_proj", "embed_tokens"), modules_to_save=("lm_head",))
    add_lora(model, config, seed=0)
    with torch.no_grad():
        for one in adapter_parameters(model).values():
            one.add_(0.1)
    before = model(IDS)
    assert not torch.equal(before, base(IDS))
    with without_adapters(model):
        assert torch.equal(model(IDS), base(IDS))
        with without_adapters(model):
            pass
        assert torch.equal(model(IDS), base(IDS))
    assert torch.equal(model(IDS), before)
    with pytest.raises(RuntimeError), without_adapters(model):
        raise RuntimeError
    assert torch.equal(model(IDS), before)


def test_a_retrained_module_hands_out_the_weight_in_use() -> None:
    module = Retrained(nn.Linear(3, 2))
    with torch.no_grad():
        module.own.weight.zero_()
    assert module.weight.abs().sum() == 0 and module.bias is module.own.bias
    with without_adapters(module):
        assert module.weight is module.base.weight and module.bias is module.base.bias


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_factors_stay_float32_on_a_base_of_fewer_bits(
    dtype: torch.dtype, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    model = make_model(make_config()).to(dtype)
    for use_dora in (False, True):
        layer: Any = LoraLinear(
            model.model.layers[0].mlp.up_proj,
            LowRank(_drawn(2, 32), _drawn(48, 2), 1.0, torch.ones(48) if use_dora else None),
        )
        assert {one.dtype for one in adapter_parameters(layer).values()} == {torch.float32}
        assert layer(_drawn(2, 32).to(dtype)).dtype == dtype
    assert product(layer.base, _drawn(2, 32).to(dtype)).dtype == dtype
