"""The gated delta rule in chunks, against the rule as it is written."""

import pytest
import torch
from torch import Tensor

from llmkit.model.recurrent.chunks import CHUNK
from llmkit.model.recurrent.delta_rule import delta_rule


def inputs(length: int, rows: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """q, k, v, g, b in float64: 3 heads of keys of 5 numbers and values of 4."""
    generator = torch.Generator().manual_seed(length)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(rows, 3, length, *shape, generator=generator, dtype=torch.float64)

    k = drawn(5)
    return drawn(5), k / k.norm(dim=-1, keepdim=True), drawn(4), -drawn().abs(), drawn().sigmoid()


def by_hand(q: Tensor, k: Tensor, v: Tensor, g: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Position after position: S <- exp(g) (I - b k k') S + b k v'."""
    unit = torch.eye(k.shape[-1], dtype=k.dtype)
    read = []
    for at in range(q.shape[2]):
        key, rate = k[:, :, at, :, None], b[:, :, at, None, None]
        state = g[:, :, at, None, None].exp() * (unit - rate * key @ key.transpose(-1, -2)) @ state
        state = state + rate * key @ v[:, :, at, None, :]
        read.append((state.transpose(-1, -2) @ q[:, :, at, :, None])[..., 0])
    return torch.stack(read, 2), state


@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_chunks_give_what_the_rule_gives_position_by_position(length: int) -> None:
    given = inputs(length)
    state = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for before in (torch.zeros_like(state), state):
        read, after = delta_rule(*given, before)
        expected, expected_after = by_hand(*given, before)
        torch.testing.assert_close(read, expected, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(after, expected_after, rtol=1e-11, atol=1e-11)
    assert torch.equal(delta_rule(*given)[0], delta_rule(*given, torch.zeros_like(state))[0])


def test_every_document_of_a_row_is_read_as_if_it_stood_alone() -> None:
    lengths = [3, CHUNK - 3, 2 * CHUNK + 5, 1, 40]  # one ends where a chunk does
    given = inputs(sum(lengths))
    numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    segments = torch.stack((numbers, torch.zeros_like(numbers)))  # the second row is one document
    read, after = delta_rule(*given, segments=segments)
    at = 0
    for length in lengths:
        alone = [one[:1, :, at : at + length] for one in given]
        expected, last = delta_rule(*alone)
        torch.testing.assert_close(read[:1, :, at : at + length], expected, rtol=1e-11, atol=1e-11)
        at += length
    torch.testing.assert_close(after[:1], last, rtol=1e-11, atol=1e-11)
    whole, state = delta_rule(*[one[1:] for one in given])
    torch.testing.assert_close(read[1:], whole, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after[1:], state, rtol=1e-11, atol=1e-11)


def test_gradients_are_those_of_the_rule() -> None:
    given = [one.requires_grad_() for one in inputs(CHUNK + 9, rows=1)]
    weights = torch.randn(1, 3, CHUNK + 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    zeros = torch.zeros(1, 3, 5, 4, dtype=torch.float64)
    ours = torch.autograd.grad((delta_rule(*given)[0] * weights).sum(), given)
    theirs = torch.autograd.grad((by_hand(*given, zeros)[0] * weights).sum(), given)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_decay_that_forgets_everything_gives_numbers() -> None:
    q, k, v, g, b = (one.float() for one in inputs(2 * CHUNK))
    read, state = delta_rule(q, k, v, g * 1e4, b)
    assert bool(read.isfinite().all()) and bool(state.isfinite().all())
