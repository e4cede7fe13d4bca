"""Attention against a twin that takes one query, one head and one key at a time."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model import attend as module
from llmkit.model.attend import attend, attend_row
from llmkit.model.layout import Layout, Span, row_stretches
from llmkit.model.window import Window

B, H, T, S, E, X = 2, 4, 6, 9, 8, 5


def _slow(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """mask: (B, T, S)."""
    found = torch.zeros(*q.shape[:3], v.shape[-1])
    for text in range(len(q)):
        for head in range(q.shape[1]):
            group = head // (q.shape[1] // k.shape[1])
            for place in range(q.shape[2]):
                seen = [other for other in range(k.shape[2]) if mask[text, place, other]]
                scores = [float(q[text, head, place] @ k[text, group, other]) * scale for other in seen]
                if softcap is not None:
                    scores = [softcap * math.tanh(score / softcap) for score in scores]
                powers = [math.exp(score) for score in scores]
                total = sum(powers) + (0.0 if sinks is None else math.exp(sinks[head]))
                for power, other in zip(powers, seen, strict=True):
                    found[text, head, place] += power / total * v[text, group, other]
    return found


def _inputs(groups: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((B, H, T, E), (B, groups, S, E), (B, groups, S, X))
    q, k, v = (torch.randn(shape, generator=generator) for shape in shapes)
    return q, k, v


def _last(queries: int, keys: int) -> Tensor:
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


EXTRAS: dict[str, dict[str, Any]] = {
    "plain": {},
    "softcap": {"softcap": 0.7},
    "sinks": {"sinks": torch.tensor([-1.0, 0.5, 2.0, 9.0])},
    "both": {"softcap": 1.5, "sinks": torch.tensor([0.0, 1.0, -2.0, 0.3])},
}
each_extra = pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)


@each_extra
@pytest.mark.parametrize("groups", [4, 2, 1])
def test_every_mask_and_group_is_the_textbooks(groups: int, extra: dict[str, Any]) -> None:
    q, k, v = _inputs(groups)
    causal = _last(T, S)
    holes = torch.rand(B, 1, T, S, generator=torch.Generator().manual_seed(1)) < 0.4
    holes = (holes & causal) | torch.eye(S, dtype=torch.bool)[S - T :]  # its own position every query sees
    for mask in (causal, holes):
        expected = _slow(q, k, v, mask.expand(B, 1, T, S)[:, 0], 0.3, **extra)
        torch.testing.assert_close(attend(q, k, v, mask, scale=0.3, **extra), expected, rtol=1e-4, atol=1e-5)


@each_extra
def test_without_a_mask_a_query_sees_itself_and_what_comes_before(extra: dict[str, Any]) -> None:
    q, k, v = _inputs(2)
    k, v = k[:, :, :T], v[:, :, :T]
    expected = _slow(q, k, v, _last(T, T).expand(B, T, T), 0.5, **extra)
    torch.testing.assert_close(attend(q, k, v, None, scale=0.5, **extra), expected, rtol=1e-4, atol=1e-5)


@each_extra
def test_without_a_mask_one_query_sees_all_that_is_cached(extra: dict[str, Any]) -> None:
    q, k, v = _inputs(2)
    expected = _slow(q[:, :, -1:], k, v, torch.ones(B, 1, S, dtype=torch.bool), 0.5, **extra)
    found = attend(q[:, :, -1:], k, v, None, scale=0.5, **extra)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [1, B * H * S, 2 * B * H * S + 1, 4 * B * H * S])
def test_queries_taken_in_runs_give_what_all_at_once_give(
    scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, v = _inputs(2)
    extra, mask = EXTRAS["both"], _last(T, S) & ~torch.eye(S, dtype=torch.bool)[0]
    shapes: list[int] = []
    whole = attend(q, k, v, mask, scale=0.3, **extra)
    written_out = module._written_out
    monkeypatch.setattr(module, "_SCORES", scores)
    monkeypatch.setattr(
        module, "_written_out", lambda part, *rest: shapes.append(part.shape[2]) or written_out(part, *rest)
    )
    torch.testing.assert_close(attend(q, k, v, mask, scale=0.3, **extra), whole)
    expected = max(1, scores // (B * H * S))
    assert shapes == [min(expected, T - at) for at in range(0, T, expected)]


def test_a_sink_far_above_the_scores_leaves_nothing_and_one_far_below_everything() -> None:
    q, k, v = _inputs(4)
    plain = attend(q, k, v, _last(T, S), scale=0.3)
    sinks = torch.tensor([80.0, -80.0, 80.0, -80.0])
    found = attend(q, k, v, _last(T, S), scale=0.3, sinks=sinks)
    torch.testing.assert_close(found[:, 1::2], plain[:, 1::2], rtol=1e-5, atol=1e-6)
    assert found[:, 0::2].abs().max() < 1e-12


def test_gradients_reach_queries_keys_values_and_sinks() -> None:
    tensors = [one.double().requires_grad_() for one in _inputs(2)]
    sinks = torch.tensor([0.1, 0.2, -0.3, 1.0], dtype=torch.double, requires_grad=True)

    def loss(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> Tensor:
        return attend(q, k, v, _last(T, S), scale=0.3, softcap=2.0, sinks=sinks).square().sum()

    loss(*tensors, sinks).backward()
    step = 1e-3  # scores are float32 inside
    with torch.no_grad():
        for tensor, at in (*((one, (0, 0, 1, 2)) for one in tensors), (sinks, (2,))):
            above, below = tensor.clone(), tensor.clone()
            above[at] += step
            below[at] -= step
            given = [*tensors, sinks]
            place = next(n for n, one in enumerate(given) if one is tensor)
            up, down = (
                loss(*(new if n == place else one for n, one in enumerate(given))) for new in (above, below)
            )
            slope = (up - down).item() / (2 * step)
            assert tensor.grad is not None
            assert tensor.grad[at].item() == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_half_precision_goes_in_and_comes_out() -> None:
    q, k, v = (one.bfloat16() for one in _inputs(2))
    for extra in EXTRAS.values():
        found = attend(q, k, v, _last(T, S), scale=0.3, **extra)
        assert found.dtype == torch.bfloat16
        exact = attend(q.float(), k.float(), v.float(), _last(T, S), scale=0.3, **extra)
        torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.03)


class Two:
    """A row whose other half is known: the last quarter and the first are here."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self._row = k, v

    def spans(self, count: int) -> Sequence[Span]:
        return [Span(3 * count // 2, count // 2, 2 * count), Span(0, count // 2, 2 * count)]

    def gather(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        places = [*range(6, 8), *range(2)]
        assert torch.equal(k, self._row[0][:, :, places]) and torch.equal(v, self._row[1][:, :, places])
        return self._row


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("window", [None, 3])
def test_positions_here_take_home_what_they_would_in_the_whole_row(
    softcap: float | None, window: int | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(B, heads, 8, E, generator=generator) for heads in (H, 2, 2))
    places = [*range(6, 8), *range(2)]
    parts = Two(k, v)
    stretches = row_stretches(parts.spans(4), q.device, window=Window(window))
    layout = Layout(parts=parts, stretches=stretches)
    way = partial(attend, scale=0.3, softcap=softcap)
    here = [one[:, :, places] for one in (q, k, v)]
    found = attend_row(*here, layout, way, plain=softcap is None)
    mask = torch.ones(8, 8, dtype=torch.bool).tril()
    if window is not None:
        mask = mask.triu(1 - window)
    expected = _slow(q, k, v, mask.expand(B, 8, 8), 0.3, softcap)
    torch.testing.assert_close(found, expected[:, :, places], atol=1e-5, rtol=1e-5)


def test_what_is_added_for_a_stretch_is_made_once_and_is_its_mask() -> None:
    stretch, other = row_stretches([Span(2, 2, 4), Span(0, 2, 4)], torch.device("cpu"))
    added = stretch.added(torch.float32)
    assert added is stretch.added(torch.float32) and added is not None and stretch.mask is not None
    assert torch.equal(added == 0, stretch.mask) and torch.equal(added == -math.inf, ~stretch.mask)
    assert stretch.added(torch.bfloat16).dtype == torch.bfloat16  # type: ignore[union-attr]
    assert other.added(torch.float32) is None  # plain causal attention
