"""numpy's arrays and torch's tensors are laid out alike, and copied only where that is said."""

from typing import Any

import numpy as np
import pytest
import torch

from llmkit.model.arrays import compact, divided, empty, fresh, joined

KINDS = (np.array, torch.tensor)


@pytest.mark.parametrize("make", KINDS)
def test_parts_stand_behind_each_other_along_any_axis(make: Any) -> None:
    a, b = make([[1, 2], [3, 4]]), make([[5, 6]])
    assert joined([a, b]).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert joined([a, a], axis=1).tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]
    assert type(joined([a, b])) is type(a) and joined([a, b]).dtype == a.dtype
    whole = joined([a])
    whole[0, 0] = 9
    assert a[0, 0] == 1  # in memory of its own


@pytest.mark.parametrize("make", KINDS)
def test_rows_are_divided_without_a_copy(make: Any) -> None:
    whole = make([[1], [2], [3], [4]])
    first, none, rest = divided(whole, [1, 0, 3])
    assert (first.tolist(), none.tolist(), rest.tolist()) == ([[1]], [], [[2], [3], [4]])
    rest[0] = 7
    assert whole[1] == 7


def test_neighbours_are_put_side_by_side_once() -> None:
    array, tensor = np.arange(6).reshape(2, 3), torch.arange(6).view(2, 3)
    assert compact(array) is array and compact(tensor) is tensor
    assert compact(array.T).flags.c_contiguous and compact(tensor.T).is_contiguous()
    assert compact(array.T).tolist() == compact(tensor.T).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_memory_is_of_the_dtype_and_the_device_of_another() -> None:
    assert empty((2, 3), np.zeros(1, np.uint16)).dtype == np.uint16
    made = empty((2, 3), torch.empty(1, dtype=torch.bfloat16, device="meta"))
    assert (made.shape, made.dtype, made.is_meta) == ((2, 3), torch.bfloat16, True)


def test_memory_of_any_size_is_writeable_and_starts_where_its_numbers_may() -> None:
    for shape in ((), (0, 4), (3, 5), (1 << 10, 1 << 10), (2, 1 << 20)):
        made = fresh(shape, np.float32)
        made[...] = 1
        assert made.shape == shape and made.dtype == np.float32 and made.flags.aligned
        assert made.sum() == made.size
