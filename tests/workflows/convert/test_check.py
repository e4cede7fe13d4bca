"""Logits before and after: equal weights pass at zero, rounding passes by its bound, damage does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import DataError
from llmkit.model.load import load_model
from llmkit.workflows.convert.check import UNITS, check_ids, compare_logits, disturb, rounding


def test_the_same_weights_differ_by_nothing(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    report = compare_logits(load_model(folder), load_model(folder), dtype="float32", tolerance=0.0)
    assert (report.largest_difference, report.same_best_share, report.passed) == (0.0, 1.0, True)
    assert (report.prompts, report.tokens) == (4, 4 * 32)  # no more than its positions


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_weights_are_within_their_bound_and_beyond_the_finer_one(
    tiny_model: Callable[..., Path], dtype: str
) -> None:
    folder = tiny_model(hidden_size=32, intermediate_size=48)
    rounded = load_model(folder, dtype=getattr(torch, dtype)).float()
    report = compare_logits(load_model(folder), rounded, dtype=dtype, tolerance=None)
    assert report.passed and report.largest_difference > report.tolerance / 100
    assert not compare_logits(load_model(folder), rounded, dtype="float32", tolerance=None).passed


def test_a_nan_does_not_pass(tiny_model: Callable[..., Path]) -> None:
    broken = load_model(tiny_model())
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    assert not compare_logits(load_model(tiny_model("b")), broken, dtype="q8_0", tolerance=None).passed


def test_a_model_whose_own_logits_are_no_numbers_has_nothing_to_be_compared_with(
    tiny_model: Callable[..., Path],
) -> None:
    broken = load_model(tiny_model())
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("inf"))
    with pytest.raises(DataError, match="logits of the model itself are not finite") as refused:
        compare_logits(broken, broken, dtype="q8_0", tolerance=None)
    assert refused.value.hint == "llmkit doctor MODEL names the tensors"


@pytest.mark.parametrize("dtype", list(UNITS))
def test_a_model_is_disturbed_by_no_more_than_a_rounding(tiny_model: Callable[..., Path], dtype: str) -> None:
    folder = tiny_model(hidden_size=32)
    model, still = load_model(folder), load_model(folder)
    with torch.no_grad():
        disturb(model, dtype)
    for name, tensor in model.state_dict().items():
        before = still.state_dict()[name]
        error = (tensor - before).abs()
        assert error.max() > 0
        bound = UNITS[dtype] * (before.abs().max() if dtype == "q8_0" else before.abs())
        assert (error <= bound + 2.0**-24 * before.abs()).all()


def test_ids_are_the_same_every_time() -> None:
    assert torch.equal(check_ids(50, 16), check_ids(50, 16))
    assert check_ids(50, 16).shape == (4, 16)


def test_only_another_dtype_rounds() -> None:
    assert rounding("bfloat16", "bfloat16") == "float32"
    assert rounding("bfloat16", "q8_0") == "q8_0"
