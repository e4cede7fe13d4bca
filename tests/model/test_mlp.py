"""The feed-forward half: transformers' activations, and the formulas of both kinds."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from llmkit.model.config import ACTIVATIONS, ModelConfig
from llmkit.model.mlp import ACTIVATION_FUNCTIONS, XIELU, GatedMLP, PlainMLP, build_mlp

Make = Callable[..., ModelConfig]


def test_every_activation_of_the_config_has_its_function() -> None:
    assert set(ACTIVATION_FUNCTIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_transformers_function_of_that_name(name: str, transformers: ModuleType) -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 201)
    torch.testing.assert_close(ACTIVATION_FUNCTIONS[name](x), ACT2FN[name](x), rtol=0, atol=1e-6)


def test_xielu_is_transformers_with_the_same_numbers(transformers: ModuleType) -> None:
    from transformers.activations import XIELUActivation

    theirs, ours = XIELUActivation(dtype=torch.float32), XIELU()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-7)
    numbers = [torch.tensor([0.3]), torch.tensor([-1.7]), torch.tensor(0.9), torch.tensor(-0.1)]
    for module in (ours, theirs):
        module.load_state_dict(dict(zip(("alpha_p", "alpha_n", "beta", "eps"), numbers, strict=True)))
    x = torch.linspace(-6, 6, 201)
    torch.testing.assert_close(ours(x), theirs._xielu_python(x), rtol=1e-6, atol=1e-6)


def test_a_gated_mlp_multiplies_what_the_gate_lets_through(make_config: Make) -> None:
    config = make_config(hidden_size=4, num_attention_heads=1, intermediate_size=2, mlp_bias=True)
    mlp = GatedMLP(config)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.zero_()
        mlp.gate_proj.weight[0, 0], mlp.gate_proj.bias[1] = 1.0, 2.0
        mlp.up_proj.weight[0, 1], mlp.up_proj.bias[1] = 1.0, 5.0
        mlp.down_proj.weight[0, 0], mlp.down_proj.weight[1, 1], mlp.down_proj.bias[2] = 1.0, 1.0, 7.0
        found = mlp(torch.tensor([3.0, 4.0, 0.0, 0.0])).tolist()
    # silu(3) * 4, silu(2) * 5, the bias, nothing; silu(x) = x / (1 + e^-x)
    assert found == pytest.approx([2.857722 * 4, 1.761594 * 5, 7.0, 0.0], rel=1e-6)


def test_a_plain_mlp_has_no_gate(make_config: Make) -> None:
    config = make_config(
        "gpt2", hidden_size=4, num_attention_heads=1, intermediate_size=2, hidden_act="relu2"
    )
    mlp = build_mlp(config, config.intermediate_size)
    assert isinstance(mlp, PlainMLP)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.zero_()
        mlp.up_proj.weight[0, 0], mlp.up_proj.weight[1, 0] = 1.0, -1.0
        mlp.down_proj.weight.fill_(1.0)
        found = mlp(torch.tensor([3.0, 0.0, 0.0, 0.0])).tolist()
    assert found == [9.0] * 4  # relu(3)^2, and relu(-3)^2 = 0
    assert {name for name, _ in mlp.named_parameters()} == {
        *("up_proj.weight", "up_proj.bias", "down_proj.weight", "down_proj.bias")
    }


def test_the_config_chooses(make_config: Make) -> None:
    assert isinstance(build_mlp(make_config(), 8), GatedMLP)
    assert isinstance(build_mlp(make_config("gpt2"), 8), PlainMLP)
