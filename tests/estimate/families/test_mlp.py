"""Tensors of a dense MLP of 8 inputs and 12 intermediate numbers."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.families.mlp import MlpRule, gated, gated_fused, two_matrices, write_gated
from llmkit.estimate.families.sheet import Sheet
from llmkit.estimate.families.sizes import Sizes
from llmkit.model.keys import Keys

SIZES = Sizes(hidden_size=8, vocab_size=50, layers=1, heads=2, kv_heads=2, head_dim=4, max_positions=64)


def written(rule: MlpRule, **config: object) -> dict[str, tuple[int, ...]]:
    mlp = rule(Keys({"intermediate_size": 12, **config}, "config.json"), SIZES)
    sheet = Sheet()
    mlp.write(sheet, 0)
    assert mlp.width == 12
    assert {tensor.part for tensor in sheet.tensors} == {"mlp"}
    return {tensor.name: tensor.shape for tensor in sheet.tensors}


def test_a_gated_mlp_has_two_matrices_up_and_one_down() -> None:
    assert written(gated()) == {
        "mlp.gate_proj.weight": (12, 8),
        "mlp.up_proj.weight": (12, 8),
        "mlp.down_proj.weight": (8, 12),
    }


def test_its_biases_are_there_when_the_key_is_set() -> None:
    assert written(gated("mlp_bias")) == written(gated())
    found = written(gated("mlp_bias"), mlp_bias=True)
    assert [found[f"mlp.{name}_proj.bias"] for name in ("gate", "up", "down")] == [(12,), (12,), (8,)]


def test_gate_and_up_in_one_matrix_have_the_numbers_of_both() -> None:
    assert written(gated_fused) == {"mlp.gate_up_proj.weight": (24, 8), "mlp.down_proj.weight": (8, 12)}


def test_an_mlp_without_gate_has_two_matrices_under_the_names_of_its_family() -> None:
    assert written(two_matrices("fc1", "fc2", True)) == {
        **{"mlp.fc1.weight": (12, 8), "mlp.fc1.bias": (12,)},
        **{"mlp.fc2.weight": (8, 12), "mlp.fc2.bias": (8,)},
    }


@pytest.mark.parametrize("rule", [gated(), gated_fused, two_matrices("fc1", "fc2", False)])
def test_an_mlp_of_unknown_width_is_refused(rule: MlpRule) -> None:
    with pytest.raises(ConfigError, match="intermediate_size"):
        rule(Keys({}, "config.json"), SIZES)


def test_a_gated_mlp_of_any_name_and_width_can_be_written() -> None:
    sheet = Sheet("layers.0.")
    write_gated(sheet, "mlp.shared_expert", 8, 5)
    assert sum(tensor.numel for tensor in sheet.tensors) == 3 * 8 * 5
    assert sheet.tensors[0].name == "layers.0.mlp.shared_expert.gate_proj.weight"
    assert all(tensor.linear for tensor in sheet.tensors)
