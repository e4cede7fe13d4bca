"""States of a batch of texts."""

import torch

from llmkit.model.recurrent.held import HeldState, state_tensors
from tests.model.recurrent.conftest import hybrid


def test_a_text_begins_with_zeros_and_goes_on_from_what_was_kept() -> None:
    held = HeldState(hybrid("qwen3_5_text").config, 3, torch.bfloat16, "cpu")
    (rows,) = held.rows()
    assert (rows.part, rows.texts) == (slice(None), 3)
    assert not any(one.any() for one in rows.before)
    rows.keep([torch.ones_like(one) for one in rows.before])
    assert all(bool((one == 1).all()) for one in next(held.rows()).before)


def test_bytes_are_those_of_every_text() -> None:
    config = hybrid("qwen3_5_text").config
    each = 3 * 44 * 2 + 4 * 6 * 5 * 4  # bfloat16 inputs, float32 matrices
    assert HeldState(config, 5, torch.bfloat16, "meta").nbytes == 5 * each
    assert [one.dtype for one in state_tensors(config, 1, torch.float64, "meta")] == [torch.float64] * 2
