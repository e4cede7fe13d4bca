"""Fixtures of the kernels' tests.

They run on the best level the machine has; test_library.py repeats them on every other, in other processes.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmkit.kernels.library import available, set_threads, why_not

UNIT = 2.0**-24
"""Half a unit in the last place of 1.0 in float32."""


@pytest.fixture
def native() -> Iterator[None]:
    """The native library, on two threads; tests of it skip where it is not built."""
    if not available():
        assert "LLMKIT_KERNELS" not in os.environ, why_not()
        pytest.skip(f"the native library {why_not()}")
    set_threads(2)
    yield
    set_threads(0)


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers every time."""
    return np.random.default_rng(20_261_126)


@pytest.fixture
def to_bf16() -> Callable[[NDArray[Any]], NDArray[np.uint16]]:
    """float32 to bfloat16 bits, by torch."""
    import torch

    def convert(values: NDArray[Any]) -> NDArray[np.uint16]:
        tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(torch.bfloat16)
        return tensor.view(torch.int16).numpy().view(np.uint16)

    return convert


@pytest.fixture
def from_bf16() -> Callable[[NDArray[np.uint16]], NDArray[np.float32]]:
    """bfloat16 bits to float32."""
    return lambda bits: (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.fixture
def same_on_any_threads() -> Callable[[Callable[[], NDArray[Any]]], NDArray[Any]]:
    """Call on 1, 2 and 3 threads; the results must be equal to the bit."""

    def call(function: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        results = []
        for count in (1, 2, 3):
            set_threads(count)
            results.append(function())
        assert len({result.tobytes() for result in results}) == 1
        return results[0]

    return call
