"""Whose rows are whose."""

from collections.abc import Callable

import torch
from adapters_by_hand import adapter

from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.adapters.torch_products import ModuleAdditions, groups_of
from llmkit.engine.adapters.values import Adapter
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
CPU = torch.device("cpu")


def test_rows_of_one_adapter_are_one_group_and_those_of_the_base_none() -> None:
    one, two = Adapter("one", {}, ""), Adapter("two", {}, "")
    (first, scattered), (second, together) = groups_of(
        [(one, 2), (None, 3), (two, 1), (two, 2), (one, 1)], CPU
    )
    assert (first, second) == (one, two)
    assert isinstance(scattered, torch.Tensor)
    assert scattered.tolist() == [0, 1, 8]
    assert together == slice(5, 8)


def test_only_the_rows_of_the_adapter_change_and_none_outside_the_pass(make_model: Make) -> None:
    model = make_model(mlp_bias=True)
    made = prepare_adapter(model, "x", adapter(model, 3, dora=True))
    additions = ModuleAdditions(model)
    additions.add_adapter(made)
    module, x = model.model.layers[0].mlp.up_proj, torch.randn(1, 6, 16)  # type: ignore[union-attr]
    with torch.inference_mode():
        plain = module(x)  # type: ignore[operator]
        with additions.of([(None, 2), (made, 3), (None, 1)]):
            found = module(x)  # type: ignore[operator]
        assert torch.equal(found[:, [0, 1, 5]], plain[:, [0, 1, 5]])
        assert (found[:, 2:5] - plain[:, 2:5]).abs().min() > 0
        assert torch.equal(module(x), plain)  # type: ignore[operator]
