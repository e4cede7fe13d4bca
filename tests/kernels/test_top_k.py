"""The largest logits against a full sort."""

import numpy as np
import pytest

from llmkit.kernels.top_k import top_k

pytestmark = pytest.mark.usefixtures("native")


@pytest.mark.parametrize("cols", [1, 2, 15, 16, 17, 1000, 33_000])
def test_the_k_largest_come_in_order_with_ties_by_column(cols: int, random: np.random.Generator) -> None:
    for distinct in (3, 10_000_000):
        logits = random.integers(-distinct, distinct, size=(3, cols)).astype(np.float32)
        order = np.lexsort((np.broadcast_to(np.arange(cols), logits.shape), -logits))
        for k in {1, min(2, cols), min(50, cols), (cols + 1) // 2, cols}:
            values, indices = top_k(logits, k)
            assert np.array_equal(indices, order[:, :k])
            assert np.array_equal(values, np.take_along_axis(logits, order[:, :k], 1))


def test_nan_comes_last_and_infinity_first() -> None:
    logits = np.full((1, 40), -1, np.float32)
    logits[0, [0, 3, 38]] = np.nan, np.inf, -np.inf
    values, indices = top_k(logits, 38)
    assert indices[0, 0] == 3
    assert set(indices[0]) == set(range(40)) - {0, 38}
    assert not np.isnan(values).any()


def test_k_outside_the_row_is_refused() -> None:
    for k in (0, 41):
        with pytest.raises(ValueError, match=f"k is {k}, the rows have 40"):
            top_k(np.zeros((1, 40), np.float32), k)
