"""AdamW by its formula, who decays and who does not, and state that comes back bit for bit."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.optimizer import (
    AdamW,
    MuonAdamW,
    Optimizer,
    build_optimizer,
    hidden_matrices,
    load_optimizer_tensors,
    optimizer_tensors,
)
from tests.model.recurrent.conftest import hybrid

LR, BETA1, BETA2, DECAY = 0.05, 0.8, 0.9, 0.3


def _gradient(shape: tuple[int, ...], step: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step))


def _update(model: nn.Module, optimizer: Optimizer | torch.optim.Optimizer, steps: range) -> None:
    """Updates by gradients that depend on the step alone."""
    for step in steps:
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = _gradient(tuple(parameter.shape), 1000 * number + step)
        optimizer.step()


def _adamw(weight: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
    """Loshchilov and Hutter 2019, algorithm 2, with a constant schedule."""
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for t, gradient in enumerate(gradients, 1):
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        unbiased, scale = first / (1 - BETA1**t), np.sqrt(second / (1 - BETA2**t))
        weight = weight - LR * (unbiased / (scale + 1e-8) + decay * weight)
    return weight


def test_updates_are_the_papers_with_decay_on_matrices_and_none_on_norms_and_biases(
    make_recipe: Callable[..., Any],
) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    before = [parameter.detach().double().numpy().copy() for parameter in model.parameters()]
    recipe = make_recipe(lr=LR, beta1=BETA1, beta2=BETA2, weight_decay=DECAY)
    _update(model, build_optimizer(model, recipe), range(6))
    for number, parameter in enumerate(model.parameters()):
        shape = tuple(parameter.shape)
        gradients = [_gradient(shape, 1000 * number + step).double().numpy() for step in range(6)]
        expected = _adamw(before[number], gradients, DECAY if len(shape) > 1 else 0.0)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_updates_are_pytorchs_own_to_the_last_bit(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    theirs = copy.deepcopy(tiny_model)
    parameters = list(theirs.parameters())
    peer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": DECAY},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=LR,
        betas=(BETA1, BETA2),
        fused=True,
    )
    ours = build_optimizer(tiny_model, make_recipe(lr=LR, beta1=BETA1, beta2=BETA2, weight_decay=DECAY))
    for steps in (range(3), range(3, 6)):  # at two learning rates
        _update(tiny_model, ours, steps)
        _update(theirs, peer, steps)
        ours.lr = LR / 3
        for group in peer.param_groups:
            group["lr"] = LR / 3
    for name, weight in theirs.named_parameters():
        assert torch.equal(tiny_model.get_parameter(name), weight), name


def test_every_weight_is_in_one_group_and_a_frozen_one_in_none(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    frozen = tiny_model.model.layers[0].mlp.gate_proj.weight
    frozen.requires_grad_(False)
    optimizer = build_optimizer(tiny_model, make_recipe(weight_decay=DECAY))
    groups = optimizer.groups
    decays = {id(weight): group.weight_decay for group in groups for weight in group.parameters}
    assert len(decays) == sum(len(group.parameters) for group in groups)
    expected = {
        id(weight): 0.0 if "norm" in name else DECAY
        for name, weight in tiny_model.named_parameters()
        if weight is not frozen
    }
    assert decays == expected and {0.0, DECAY} == set(expected.values())
    assert isinstance(optimizer, AdamW) and optimizer.betas == (0.9, 0.95)


def test_a_tied_embedding_is_one_weight_and_a_model_of_matrices_has_one_group(
    make_recipe: Callable[..., Any],
) -> None:
    shape = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = ModelConfig(**shape, num_attention_heads=2, tie_word_embeddings=True)  # type: ignore[arg-type]
    groups = build_optimizer(Transformer(config), make_recipe()).groups
    assert sum(weight.shape == (16, 8) for group in groups for weight in group.parameters) == 1
    (only,) = build_optimizer(nn.Linear(2, 2, bias=False), make_recipe()).groups
    assert len(only.parameters) == 1


def test_the_state_has_two_moments_and_a_step_for_each_weight_by_its_name(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    optimizer = build_optimizer(tiny_model, make_recipe(beta1=BETA1, beta2=BETA2))
    assert optimizer_tensors(optimizer, tiny_model) == {}
    _update(tiny_model, optimizer, range(1))
    tensors = optimizer_tensors(optimizer, tiny_model)
    names = {name for name, _ in tiny_model.named_parameters()}
    assert tensors.keys() == {f"{name}.{key}" for name in names for key in ("exp_avg", "exp_avg_sq", "step")}
    for number, (name, weight) in enumerate(tiny_model.named_parameters()):
        gradient = _gradient(tuple(weight.shape), 1000 * number)
        torch.testing.assert_close(tensors[f"{name}.exp_avg"], (1 - BETA1) * gradient)
        torch.testing.assert_close(tensors[f"{name}.exp_avg_sq"], (1 - BETA2) * gradient**2)
        assert tensors[f"{name}.step"] == 1


def test_five_updates_a_file_and_five_more_are_ten_updates_bit_for_bit(
    make_recipe: Callable[..., Any], tiny_model: Transformer, tmp_path: Path
) -> None:
    recipe, straight = make_recipe(lr=LR), copy.deepcopy(tiny_model)
    whole = build_optimizer(straight, recipe)
    _update(straight, whole, range(10))

    first = build_optimizer(tiny_model, recipe)
    _update(tiny_model, first, range(5))
    save_file(optimizer_tensors(first, tiny_model), tmp_path / "o.safetensors")
    again = copy.deepcopy(tiny_model)
    second = build_optimizer(again, recipe)
    load_optimizer_tensors(second, again, load_file(tmp_path / "o.safetensors"))
    _update(again, second, range(5, 10))

    for name, weight in straight.named_parameters():
        assert torch.equal(again.get_parameter(name), weight), name
    expected = optimizer_tensors(whole, straight)
    found = optimizer_tensors(second, again)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_without_its_moments_a_run_would_not_go_on_the_same(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    recipe, straight = make_recipe(lr=LR), copy.deepcopy(tiny_model)
    _update(straight, build_optimizer(straight, recipe), range(10))
    _update(tiny_model, build_optimizer(tiny_model, recipe), range(5))
    _update(tiny_model, build_optimizer(tiny_model, recipe), range(5, 10))
    same = [torch.equal(a, b) for a, b in zip(straight.parameters(), tiny_model.parameters(), strict=True)]
    assert not any(same)


def test_a_weight_that_never_had_a_gradient_begins_afresh(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    optimizer = build_optimizer(tiny_model, make_recipe(lr=LR))
    _update(tiny_model, optimizer, range(2))
    tensors = optimizer_tensors(optimizer, tiny_model)
    unused = "model.norm.weight"
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(unused)}
    other = copy.deepcopy(tiny_model)
    resumed = build_optimizer(other, make_recipe(lr=LR))
    load_optimizer_tensors(resumed, other, kept)
    assert other.get_parameter(unused) not in resumed.state
    _update(other, resumed, range(2, 3))
    assert optimizer_tensors(resumed, other)[f"{unused}.step"] == 1
    assert optimizer_tensors(resumed, other)["lm_head.weight.step"] == 3


def test_stacks_of_matrices_decay_and_stacks_of_biases_do_not(make_recipe: Callable[..., Any]) -> None:
    model = nn.ParameterDict({"gate_up_proj": torch.ones(2, 3, 4), "gate_up_proj_bias": torch.ones(2, 3)})
    decay = {
        id(one): group.weight_decay
        for group in build_optimizer(model, make_recipe()).groups
        for one in group.parameters
    }
    assert {name: decay[id(one)] for name, one in model.items()} == {
        "gate_up_proj": 0.1,
        "gate_up_proj_bias": 0.0,
    }


MOE = {"vocab_size": 16, "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1}
GPT2 = {"vocab_size": 16, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest(
    make_recipe: Callable[..., Any], tiny_model: Transformer
) -> None:
    optimizer = build_optimizer(tiny_model, make_recipe(optimizer="muon", weight_decay=DECAY, momentum=0.7))
    assert isinstance(optimizer, MuonAdamW) and optimizer.muon.momentum == 0.7
    mine = {id(one) for one in optimizer.muon.matrices}
    names = {name for name, one in tiny_model.named_parameters() if id(one) in mine}
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert {name.split(".")[-2] for name in names} == set(kinds) and len(names) == 2 * len(kinds)
    rest = {id(one): group.weight_decay for group in optimizer.adamw.groups for one in group.parameters}
    assert mine.isdisjoint(rest) and len(mine) + len(rest) == len(list(tiny_model.parameters()))
    weights = dict(tiny_model.named_parameters())
    assert rest[id(weights["lm_head.weight"])] == DECAY and rest[id(weights["model.norm.weight"])] == 0.0
    optimizer.lr = 0.5
    assert (optimizer.lr, optimizer.muon.lr, optimizer.adamw.lr) == (0.5, 0.5, 0.5)


def test_muon_takes_stacks_of_experts_and_no_embedding_of_positions() -> None:
    mixture = Transformer(preset("tiny-moe", **MOE))
    held = {id(one) for one in hidden_matrices(mixture)}
    stacks = [one for one in mixture.parameters() if one.dim() == 3]
    assert stacks and all(id(one) in held for one in stacks)
    gpt2 = Transformer(preset("gpt2", **GPT2))
    held = {id(one) for one in hidden_matrices(gpt2)}
    apart = [name for name, one in gpt2.named_parameters() if one.dim() >= 2 and id(one) not in held]
    assert len(apart) == 2 and all("embed" in name for name in apart)


def test_five_updates_of_muon_a_file_and_five_more_are_ten_bit_for_bit(
    make_recipe: Callable[..., Any], tiny_model: Transformer, tmp_path: Path
) -> None:
    recipe, straight = make_recipe(lr=LR, optimizer="muon"), copy.deepcopy(tiny_model)
    whole = build_optimizer(straight, recipe)
    _update(straight, whole, range(10))

    first = build_optimizer(tiny_model, recipe)
    _update(tiny_model, first, range(5))
    tensors = optimizer_tensors(first, tiny_model)
    assert {name.rsplit(".", 1)[1] for name in tensors if ".mlp." in name} == {"momentum_buffer"}
    save_file(tensors, tmp_path / "o.safetensors")
    again, forgetful = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model)
    second = build_optimizer(again, recipe)
    load_optimizer_tensors(second, again, load_file(tmp_path / "o.safetensors"))
    _update(again, second, range(5, 10))
    for name, weight in straight.named_parameters():
        assert torch.equal(again.get_parameter(name), weight), name

    _update(forgetful, build_optimizer(forgetful, recipe), range(5, 10))
    gate = "model.layers.0.mlp.gate_proj.weight"
    assert not torch.equal(forgetful.get_parameter(gate), straight.get_parameter(gate))


def test_a_convolution_is_no_stack_of_matrices(make_recipe: Callable[..., Any]) -> None:
    model = hybrid("qwen3_5_text")
    names = {id(one): name for name, one in model.named_parameters()}
    optimizer = build_optimizer(model, make_recipe(optimizer="muon", weight_decay=DECAY))
    assert isinstance(optimizer, MuonAdamW)
    convolutions = {number for number, name in names.items() if "conv1d" in name}
    assert len(convolutions) == 2 and convolutions.isdisjoint(map(id, optimizer.muon.matrices))
    decays = {id(one): group.weight_decay for group in optimizer.adamw.groups for one in group.parameters}
    assert all(decays[number] == 0.0 for number in convolutions)
    assert any("in_proj_qkv" in names[id(one)] for one in optimizer.muon.matrices)
