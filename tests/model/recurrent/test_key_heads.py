"""Whose rows are where: written out by hand for two key heads, each with two value heads."""

from llmkit.model.config_states import DeltaConfig
from llmkit.model.recurrent.key_heads import inputs_by_head, rates_by_head

DELTA = DeltaConfig(
    layers=(0,), num_key_heads=2, num_value_heads=4, key_head_dim=1, value_head_dim=2, kernel=4
)


def test_a_key_head_has_its_query_its_key_its_values_and_its_gates_side_by_side() -> None:
    # q k v v v v z z z z of the first, then of the second
    inputs, gates = inputs_by_head(DELTA)
    assert inputs.tolist() == [0, 10, 1, 11, 2, 3, 4, 5, 12, 13, 14, 15]
    assert gates.tolist() == [6, 7, 8, 9, 16, 17, 18, 19]


def test_a_key_head_has_its_rates_before_its_decays() -> None:
    rates, decays = rates_by_head(DELTA)  # b b a a, b b a a
    assert rates.tolist() == [0, 1, 4, 5] and decays.tolist() == [2, 3, 6, 7]
