"""Where the states of texts are for the kernels, and what becomes of them."""

import numpy as np
import pytest

from llmkit.engine.native.states import NativeStates, state_sizes
from llmkit.model.recurrent.shapes import state_shapes
from tests.model.recurrent.conftest import FIELDS, hybrid


@pytest.mark.parametrize("name", FIELDS)
def test_each_layer_of_state_has_a_place_of_its_own_in_a_slot_and_others_have_none(name: str) -> None:
    config = hybrid(name).config
    states, each, count = NativeStates(config, 4), state_sizes(config).floats, len(config.state_layers)
    assert states.array.shape == (4, count * each) and states.kept.stride == count * each
    begin = states.array.ctypes.data
    places = {layer: begin + 4 * each * number for number, layer in enumerate(config.state_layers)}
    expected = [places.get(layer, 0) for layer in range(config.num_hidden_layers)]
    assert states.kept._addresses.tolist() == expected and begin in expected
    assert states.nbytes == states.array.nbytes


@pytest.mark.parametrize("name", FIELDS)
def test_a_state_holds_what_the_modules_hold_and_less_than_a_vector_more_of_each_row(
    name: str,
) -> None:
    config = hybrid(name).config
    numbers = [int(np.prod(one.shape)) for one in state_shapes(config)]
    assert sum(numbers) <= state_sizes(config).floats
    sizes = state_sizes(config)
    assert sizes.floats < sum(numbers) + 16 + 16 * sizes.value_heads * sizes.key_dim


def test_a_state_is_copied_and_begun_in_its_slot_alone() -> None:
    states = NativeStates(hybrid("lfm2").config, 3)
    states.array[:] = np.arange(3)[:, None]
    states.copy(2, 0)
    assert [set(row.tolist()) for row in states.array] == [{2.0}, {1.0}, {2.0}]
    states.begin(2)
    assert [set(row.tolist()) for row in states.array] == [{2.0}, {1.0}, {0.0}]
