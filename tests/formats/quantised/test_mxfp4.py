"""gpt-oss's MXFP4, against transformers' own way to unpack."""

import numpy as np
import pytest
import torch

from llmkit.formats.quantised.mxfp4 import CODES, SCALE, Mxfp4


def test_numbers_are_those_of_transformers() -> None:
    mxfp4 = pytest.importorskip("transformers.integrations.mxfp4")
    rng = np.random.default_rng(0)
    parts = {
        CODES: rng.integers(0, 256, (3, 5, 2, 16)).astype(np.uint8),
        SCALE: rng.integers(1, 250, (3, 5, 2)).astype(np.uint8),
    }
    theirs = mxfp4.convert_moe_packed_tensors(
        torch.from_numpy(parts[CODES]), torch.from_numpy(parts[SCALE]), dtype=torch.float32
    )
    assert Mxfp4().shape({suffix: part.shape for suffix, part in parts.items()}, {}) == (15, 64)
    ours = Mxfp4().read(parts, 15, 64).reshape(3, 5, 64)
    assert np.array_equal(ours.swapaxes(1, 2), theirs.numpy())  # (experts, inputs, outputs) there


def test_the_first_of_two_numbers_is_in_the_low_nibble_and_127_is_a_scale_of_one() -> None:
    codes = np.full((1, 1, 1, 16), 0xF2, np.uint8)  # 2 is 1.0, 15 is -6.0
    values = Mxfp4().read({CODES: codes, SCALE: np.array([[[127]]], np.uint8)}, 1, 32)
    assert values.tolist() == [[1.0, -6.0] * 16]


@pytest.mark.parametrize(
    ("codes", "scale"),
    [((2, 3, 1, 8), (2, 3, 1)), ((2, 3, 1, 16), (2, 3, 2)), ((3, 1, 16), (3, 1))],
    ids=["short blocks", "scales of others", "no stack"],
)
def test_shapes_that_do_not_fit_are_told(codes: tuple[int, ...], scale: tuple[int, ...]) -> None:
    assert Mxfp4().shape({CODES: codes, SCALE: scale}, {}) is None
