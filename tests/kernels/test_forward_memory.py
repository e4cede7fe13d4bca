"""Addresses of keys, values and scales, as a pass is told of them."""

from ctypes import c_size_t

import pytest

from llmkit.kernels.forward_memory import KeptMemory
from llmkit.kernels.memory import ValueType


def _at(address: int | None, count: int) -> list[int]:
    assert address is not None
    return [*(c_size_t * count).from_address(address)]


def test_a_pass_finds_the_address_of_every_layer_s_keys_values_and_scales() -> None:
    plain = KeptMemory([64, 128], [256, 512], ValueType.FLOAT32, 16, (8, 2), group_of=[1, 0])
    assert [_at(one, 2) for one in plain.addresses[:2]] == [[64, 128], [256, 512]]
    assert plain.addresses[2:] == (None, None)
    assert (plain.num_layers, plain.num_groups, plain.row) == (2, 2, (8, 2))
    coded = KeptMemory([64], [128], ValueType.CODES8, 16, (8, 2), ([256], [512]))
    assert [_at(one, 1) for one in coded.addresses] == [[64], [128], [256], [512]]
    assert coded.num_groups == 1


def test_codes_without_scales_are_none() -> None:
    with pytest.raises(AssertionError):
        KeptMemory([64], [128], ValueType.CODES8, 16, (8, 2))
