"""Mamba-2's state space in chunks, against the rule as it is written."""

import pytest
import torch
from torch import Tensor

from llmkit.model.recurrent.chunks import CHUNK
from llmkit.model.recurrent.state_space import state_space


def inputs(length: int, rows: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, x, g in float64: 2 groups of keys of 5 numbers, 3 heads of 4 in each."""
    generator = torch.Generator().manual_seed(length)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator, dtype=torch.float64)

    q, k, x = drawn(2, length, 5), drawn(2, length, 5), drawn(6, length, 4)
    return q, k, x, -drawn(6, length).abs()


def by_hand(q: Tensor, k: Tensor, x: Tensor, g: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Position after position and head after head: S <- exp(g) S + k x'."""
    read = []
    for at in range(x.shape[2]):
        heads = []
        for head in range(6):
            key, query, value = k[:, head // 3, at], q[:, head // 3, at], x[:, head, at]
            decayed = state[:, head] * g[:, head, at, None, None].exp()
            heads.append(decayed + key[:, :, None] * value[:, None, :])
            read.append((heads[-1] * query[:, :, None]).sum(1))
        state = torch.stack(heads, 1)
    return torch.stack(read, 1).unflatten(1, (-1, 6)).transpose(1, 2), state


@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_chunks_give_what_the_rule_gives_position_by_position(length: int) -> None:
    given = inputs(length)
    state = torch.randn(2, 6, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for before in (torch.zeros_like(state), state):
        read, after = state_space(*given, before)
        expected, expected_after = by_hand(*given, before)
        torch.testing.assert_close(read, expected, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(after, expected_after, rtol=1e-11, atol=1e-11)
    assert torch.equal(state_space(*given)[0], state_space(*given, torch.zeros_like(state))[0])


def test_every_document_of_a_row_is_read_as_if_it_stood_alone() -> None:
    lengths = [3, CHUNK - 3, 2 * CHUNK + 5, 1, 40]  # one ends where a chunk does
    given = inputs(sum(lengths))
    numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    segments = torch.stack((numbers, torch.zeros_like(numbers)))  # the second row is one document
    read, after = state_space(*given, segments=segments)
    at = 0
    for length in lengths:
        expected, last = state_space(*[one[:1, :, at : at + length] for one in given])
        torch.testing.assert_close(read[:1, :, at : at + length], expected, rtol=1e-11, atol=1e-11)
        at += length
    torch.testing.assert_close(after[:1], last, rtol=1e-11, atol=1e-11)
    whole, state = state_space(*[one[1:] for one in given])
    torch.testing.assert_close(read[1:], whole, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after[1:], state, rtol=1e-11, atol=1e-11)


def test_gradients_are_those_of_the_rule() -> None:
    given = [one.requires_grad_() for one in inputs(CHUNK + 9, rows=1)]
    generator = torch.Generator().manual_seed(1)
    state, weights, ends = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((1, 6, 5, 4), (1, 6, CHUNK + 9, 4), (1, 6, 5, 4))
    )
    given.append(state.requires_grad_())
    ours, theirs = (
        torch.autograd.grad((read * weights).sum() + (after * ends).sum(), given)
        for read, after in (state_space(*given), by_hand(*given))
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_decay_that_forgets_everything_gives_numbers_and_gradients() -> None:
    q, k, x, g = (one.float().requires_grad_() for one in inputs(2 * CHUNK))
    read, state = state_space(q, k, x, g * 1e4)
    assert bool(read.isfinite().all()) and bool(state.isfinite().all())
    gradients = torch.autograd.grad(read.sum() + state.sum(), (q, k, x, g))
    assert all(bool(one.isfinite().all()) for one in gradients)
