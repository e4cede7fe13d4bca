"""One matrix packed as several, of numbers and of codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.engine.native.matrices import Matrices
from llmkit.kernels.coded_gguf import gguf_matrix
from llmkit.kernels.library import available
from llmkit.kernels.packed import PackedFormat
from llmkit.model.quantised.coded_weights import Source
from tests.kernels.native.calls import matmul
from tests.model.recurrent.conftest import hybrid

pytestmark = pytest.mark.skipif(not available(), reason="no native library")
NAME = "some.weight"
ORDERS = (np.array([5, 0, 33]), np.arange(1, 39, 2))


class Weights:
    """One matrix (40, 64)."""

    config, dtype = hybrid("lfm2").config, "float32"
    shapes: Mapping[str, tuple[int, ...]] = {NAME: (40, 64)}

    def __init__(self, codes: Mapping[str, list[Source]]) -> None:
        self.codes, self.given_up = codes, 0
        self.values = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)

    def take(self, name: str) -> NDArray[Any]:
        return self.values

    def forget(self, rows: NDArray[Any]) -> None:
        pass

    def give_up(self, name: str) -> None:
        self.given_up += 1


def test_rows_of_numbers_are_shared_out_in_their_orders_and_the_matrix_is_given_up_once() -> None:
    weights = Weights({})
    found = Matrices(weights, PackedFormat.FLOAT32).shared_out(NAME, ORDERS)
    unit = np.eye(64, dtype=np.float32)
    for part, order in zip(found, ORDERS, strict=True):
        assert (weights.values[order] == matmul(part, unit).T).all()
    assert weights.given_up == 1


def test_rows_of_codes_are_shared_out_as_codes() -> None:
    blocks = np.random.default_rng(1).integers(-127, 128, (40, 2, 34)).astype(np.int8)
    blocks[..., :2] = np.frombuffer(np.float16(1.0).tobytes(), np.int8)  # Q8_0: a scale, and 32 codes
    raw = blocks.reshape(-1).view(np.uint8)
    weights = Weights({NAME: [lambda: gguf_matrix(raw, "Q8_0", 40, 64)]})
    found = Matrices(weights, PackedFormat.FLOAT32).shared_out(NAME, ORDERS)
    codes = blocks[..., 2:].reshape(40, 64)
    unit = np.eye(64, dtype=np.float32)
    for part, order in zip(found, ORDERS, strict=True):
        assert part.rounds_inputs
        np.testing.assert_allclose(matmul(part, unit).T, codes[order], rtol=1e-2, atol=1e-2)
