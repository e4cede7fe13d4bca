import math

import pytest
import torch

from llmkit.errors import DataError
from llmkit.model.finite import check_finite


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_in_any_dtype(number: float) -> None:
    for dtype in (None, torch.float32, torch.float16):
        with pytest.raises(DataError, match="head: a weight is not a finite number"):
            check_finite("head", torch.tensor([1.0, number]), dtype)


def test_the_largest_number_of_a_dtype_goes_by_and_the_next_larger_one_does_not() -> None:
    for number in (65504.0, -65519.0):  # the second is rounded to the first's size
        check_finite("head", torch.tensor([number]), torch.float16)
    for number in (65520.0, -65520.0):
        check_finite("head", torch.tensor([number]), torch.bfloat16)
        with pytest.raises(DataError, match="head has 65520, beyond float16's 65504"):
            check_finite("head", torch.tensor([1.0, number]), torch.float16)
    check_finite("nobody", torch.empty(0), torch.float16)
