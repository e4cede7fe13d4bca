"""What a backward pass computes again."""

import copy
import logging

import pytest
import torch
from runs import Run, config_of
from torch import nn
from torch._dynamo.utils import counters
from torch.utils.flop_counter import FlopCounterMode

from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.config import ActivationCheckpointing
from llmkit.train.parallel.recompute import recompute


@pytest.fixture
def model() -> Transformer:
    built = Transformer(config_of(Run()))
    initialise(built, torch.Generator().manual_seed(1))
    return built


def kept(model: Transformer, how: ActivationCheckpointing) -> tuple[int, list[torch.Tensor]]:
    """Bytes that autograd packs while the layers run, and the gradients."""
    model = copy.deepcopy(model)
    recompute(model.model.layers, how)
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.arange(32).view(2, 16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(ids).square().sum()
        size = sum(storages.values())
    loss.backward()
    return size, [one.grad for one in model.parameters() if one.grad is not None]


@pytest.fixture
def dropping(model: Transformer) -> Transformer:
    """The model with adapters that change something, and leave out three tenths of what they read."""
    add_lora(model, LoraConfig(r=4, dropout=0.3), 0)
    for name, one in model.named_parameters():
        if name.endswith("lora_B"):
            torch.nn.init.normal_(one, std=0.1, generator=torch.Generator().manual_seed(2))
    return model.train()


def test_less_is_kept_and_the_gradients_are_the_same_bits(model: Transformer) -> None:
    plain, gradients = kept(model, "none")
    full, same = kept(model, "full")
    assert full < 0.8 * plain
    assert all(torch.equal(one, other) for one, other in zip(gradients, same, strict=True))
    _, selective = kept(model, "selective")
    assert all(torch.equal(one, other) for one, other in zip(gradients, selective, strict=True))


@pytest.mark.parametrize("how", ["full", "selective"])
def test_what_is_left_out_is_left_out_again(dropping: Transformer, how: ActivationCheckpointing) -> None:
    torch.manual_seed(7)
    _, expected = kept(dropping, "none")
    after = torch.rand(3)
    torch.manual_seed(7)
    _, gradients = kept(dropping, how)
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))
    assert torch.equal(torch.rand(3), after)  # and the next pass draws what it would have drawn
    torch.manual_seed(8)
    _, others = kept(dropping, how)
    assert not any(torch.equal(one, other) for one, other in zip(others, expected, strict=True))


def test_selective_computes_no_product_again(model: Transformer) -> None:
    def flops(how: ActivationCheckpointing) -> int:
        twin = copy.deepcopy(model)
        recompute(twin.model.layers, how)
        loss = twin(torch.arange(16)[None]).square().sum()
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        return counter.get_total_flops()

    assert flops("none") == flops("selective") < flops("full")


def test_a_compiled_layer_that_is_computed_again_in_parts_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[logging.LogRecord] = []
    logger = logging.getLogger("torch._higher_order_ops.wrap")
    monkeypatch.setattr(logger, "callHandlers", said.append)
    layer = nn.Sequential(nn.Linear(4, 4), nn.SiLU())
    recompute([layer], "selective")
    layer.compile(backend="aot_eager")
    layer(torch.ones(2, 4)).sum().backward()
    assert said == [] and counters["stats"]["unique_graphs"] > 0
