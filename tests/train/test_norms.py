"""Norms of layers in an update, beside a slow twin that does the update by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe
from llmkit.train.loss import build_batch
from llmkit.train.norms import layer_of, parameter_groups
from llmkit.train.order import RowOrder
from llmkit.train.trainer import StepResult, Trainer

GROUPS = ["embed_tokens", "layers.0", "layers.1", "norm", "lm_head"]


def build(model: Transformer, rows: Any, recipe: Recipe, **settings: Any) -> Trainer:
    return Trainer(model, rows, recipe, micro_batch_rows=2, **settings)


def weights(model: Transformer, group: str) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if layer_of(n) == group}


def norm(tensors: Any) -> float:
    return float(torch.cat([one.flatten() for one in tensors]).double().norm())


@pytest.fixture
def steps(
    tiny_model: Transformer, make_rows: Callable[..., Any], make_recipe: Callable[..., Recipe]
) -> tuple[Transformer, Any, Recipe, list[StepResult], Trainer]:
    """Two updates, the second watched; and the model as it was between them."""
    rows, recipe = make_rows(), make_recipe(rows=20, lr=1e-2, warmup_steps=0, clip=0.01)
    trainer = build(tiny_model, rows, recipe, norms_every=2)
    first = trainer.train_step()
    between = copy.deepcopy(trainer.model)
    second = trainer.train_step()
    trainer.close()
    return between, rows, recipe, [first, second], trainer


def test_only_updates_that_are_due_are_watched_and_no_hook_stays(steps: Any) -> None:
    _, _, _, (first, second), trainer = steps
    assert first.norms is None and [one["name"] for one in second.norms] == GROUPS
    assert all(not module._forward_hooks for module in trainer.model.modules())


def test_gradient_weight_and_update_are_those_of_an_update_done_by_hand(steps: Any) -> None:
    between, rows, recipe, (_, second), trainer = steps
    batch = build_batch(
        rows.read(RowOrder(20, recipe.seed).take(4, 4)), document_mask=True, device=torch.device("cpu")
    )
    logits = between(batch.ids, segments=batch.segments)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100)
    loss.backward()
    assert loss.item() == pytest.approx(second.loss, rel=1e-5)
    for told in second.norms:
        gradients = [p.grad for n, p in between.named_parameters() if layer_of(n) == told["name"]]
        before, after = weights(between, told["name"]), weights(trainer.model, told["name"])
        changed = norm(after[name] - before[name] for name in before)
        assert told["gradient"] == pytest.approx(norm(gradients), rel=1e-4)  # not clipped to 0.01
        assert told["weight"] == pytest.approx(norm(before.values()), rel=1e-6)
        assert told["update_ratio"] == pytest.approx(changed / norm(before.values()), rel=1e-4)


def test_activations_are_what_each_layer_puts_out_over_all_parts_of_the_batch(steps: Any) -> None:
    between, rows, recipe, (_, second), _ = steps
    batch = build_batch(
        rows.read(RowOrder(20, recipe.seed).take(4, 4)), document_mask=True, device=torch.device("cpu")
    )
    outputs: dict[str, torch.Tensor] = {}
    for name, module in between.named_modules():
        if name.removeprefix("model.") in GROUPS:
            module.register_forward_hook(
                lambda m, a, out, name=name: outputs.__setitem__(name.removeprefix("model."), out.detach())
            )
    between(batch.ids, segments=batch.segments)
    for told in second.norms:
        values = outputs[told["name"]].double()
        assert told["activation_rms"] == pytest.approx(float(values.square().mean().sqrt()), rel=1e-5)
        assert told["activation_max"] == pytest.approx(float(values.abs().max()), rel=1e-6)


def test_watching_changes_nothing_that_is_learnt(
    tiny_model: Transformer, make_rows: Callable[..., Any], make_recipe: Callable[..., Recipe]
) -> None:
    twin, recipe = copy.deepcopy(tiny_model), make_recipe(rows=20, lr=1e-2)
    watched, plain = (
        build(model, make_rows(), recipe, norms_every=every) for model, every in ((tiny_model, 1), (twin, 0))
    )
    for _ in range(3):
        assert watched.train_step().loss == plain.train_step().loss
    for ours, theirs in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_update_left_out_changes_nothing_and_a_frozen_layer_has_no_gradient(
    tiny_model: Transformer, make_rows: Callable[..., Any], make_recipe: Callable[..., Recipe]
) -> None:
    for parameter in tiny_model.model.layers[0].parameters():
        parameter.requires_grad_(False)
    trainer = build(tiny_model, make_rows(), make_recipe(rows=20), norms_every=1, on_nonfinite="skip")
    with torch.no_grad():
        tiny_model.model.norm.weight.fill_(torch.inf)
    result = trainer.train_step()
    assert result.skipped == "nonfinite" and result.norms is not None
    told = {one["name"]: one for one in result.norms}
    assert (told["layers.0"]["gradient"], told["layers.0"]["update_ratio"]) == (None, None)
    assert told["layers.1"]["update_ratio"] == 0.0 and told["layers.0"]["weight"] > 0


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.up_proj.weight", "layers.3"),
        ("model.layers.11", "layers.11"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "lm_head"),
    ],
)
def test_a_parameter_belongs_to_its_layer(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_every_parameter_is_in_one_group(tiny_model: Transformer) -> None:
    groups = parameter_groups(tiny_model)
    assert list(groups) == GROUPS
    assert sum(map(len, groups.values())) == len(list(tiny_model.parameters()))
