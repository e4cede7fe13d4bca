"""How the library is told of tables that are looked up."""

from ctypes import addressof

import numpy as np
import pytest

from llmkit.kernels.forward_own import OwnEmbeddings, own_struct, table_of
from llmkit.kernels.forward_weights import NormWeights
from llmkit.kernels.library import available
from llmkit.kernels.memory import ValueType, rows_of
from llmkit.kernels.packed import PackedFormat, pack


def test_a_table_of_numbers_is_told_by_its_place_and_type() -> None:
    rows = rows_of(np.zeros((3, 8), np.float32))
    assert table_of(rows, 8) == (rows.address, int(ValueType.FLOAT32))
    with pytest.raises(AssertionError):
        table_of(rows, 4)


@pytest.mark.skipif(not available(), reason="the native library is not built")
def test_own_embeddings_are_as_wide_as_their_norm_and_lie_layer_by_layer() -> None:
    table = rows_of(np.zeros((5, 6), np.float32))
    projection = pack(rows_of(np.zeros((6, 4), np.float32)), PackedFormat.FLOAT32)
    own = OwnEmbeddings(table, projection, NormWeights(np.ones(3, np.float32)), 2.0, 0.5)
    struct = own_struct(own, layers=2)
    assert (own.width, struct.width, struct.table, struct.projection.rows) == (3, 3, table.address, 6)
    assert (struct.table_scale, struct.stream_scale, addressof(struct) > 0) == (2.0, 0.5, True)
    with pytest.raises(AssertionError):
        own_struct(own, layers=3)
