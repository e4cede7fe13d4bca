"""What the library is told of adapters."""

from ctypes import c_uint64

import numpy as np
import pytest

from llmkit.kernels.forward_adapters import ADDITIONS, AdapterStructs, AdapterTable, LowRankWeights
from llmkit.kernels.forward_structs import LowRankStruct


def weights(rank: int, factors: bool = False) -> LowRankWeights:
    ones = np.ones
    return LowRankWeights(
        ones((rank, 4), np.float32),
        ones((rank, 6), np.float32),
        ones(6, np.float32) if factors else None,
    )


def test_additions_stand_layer_by_layer_in_their_order() -> None:
    low = weights(3)
    layers: list[list[LowRankWeights | None]] = [[None] * len(ADDITIONS) for _ in range(2)]
    layers[1][ADDITIONS.index("o")] = low
    made = AdapterStructs(layers)
    structs, at = (LowRankStruct * 24).from_address(made.address), 12 + 3
    assert [one.rank for one in structs] == [0] * at + [3] + [0] * 8
    assert structs[at].a == low.a.ctypes.data
    assert structs[at].b == low.b.ctypes.data
    assert structs[at].factors is None
    assert structs[0].a is None


def test_a_table_has_an_address_for_each_text_and_none_where_nothing_is_added() -> None:
    all_ = len(ADDITIONS)
    one, two = AdapterStructs([[weights(2)] * all_]), AdapterStructs([[weights(5, True)] * all_])
    most, factors, address = AdapterTable([one, None, two]).fields
    assert (most, factors) == (5, True)
    assert AdapterTable([one]).fields[:2] == (2, False)
    assert AdapterTable([None, None]).fields == (0, False, None)
    table = AdapterTable([one, None, two])
    _, _, address = table.fields
    assert address is not None
    assert [*(c_uint64 * 3).from_address(address)] == [one.address, 0, two.address]


def test_a_layer_has_a_place_for_every_addition() -> None:
    with pytest.raises(AssertionError):
        AdapterStructs([[None] * 6])
