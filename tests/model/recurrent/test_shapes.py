"""How much a layer of state keeps."""

from llmkit.model.recurrent.shapes import StateShape, state_shapes
from tests.model.recurrent.conftest import hybrid


def test_the_delta_rule_keeps_inputs_of_its_convolution_and_a_matrix_for_each_value_head() -> None:
    shapes = state_shapes(hybrid("qwen3_5_text").config)
    assert shapes == (StateShape((3, 2 * 2 * 6 + 4 * 5), False), StateShape((4, 6, 5), True))


def test_a_short_convolution_keeps_its_last_inputs_alone() -> None:
    assert state_shapes(hybrid("lfm2").config) == (StateShape((2, 32), False),)


def test_mamba_2_keeps_inputs_of_its_convolution_and_a_matrix_for_each_head() -> None:
    shapes = state_shapes(hybrid("granitemoehybrid").config)
    assert shapes == (StateShape((3, 4 * 16 + 2 * 2 * 6), False), StateShape((4, 6, 16), True))
