"""Searches against their slow twins in torch, rounding by brute force, feedback against a loop in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llmkit.formats.gguf.simple import IQ4_VALUES
from llmkit.kernels import quantise
from llmkit.kernels.quantise import GroupValues
from llmkit.quant import search_torch, shared_torch

pytestmark = pytest.mark.usefixtures("native")

Array = NDArray[np.float32]
SHAPES = [(1, 32), (15, 16), (17, 17), (40, 64), (48, 1), (33, 2), (6, 300)]
COUNTS = ["none", "columns", "weights"]


def importance_of(kind: str, groups: int, width: int, random: np.random.Generator) -> Array | None:
    """None; rows so many that they divide `groups`, as of a matrix's columns; or one for each group."""
    if kind == "none":
        return None
    rows = groups if kind == "weights" else next(d for d in (3, 5, 1) if groups % d == 0)
    return (random.random((rows, width)) ** 4).astype(np.float32)


def lost(weight: Array, importance: Array | None, step: Array, base: Array | None, table: Array) -> float:
    """Weighted squares from the nearest values, by brute force."""
    values = table.astype(np.float64) * step[:, None].astype(np.float64)
    if base is not None:
        values += base[:, None]
    nearest = np.abs(weight[:, :, None].astype(np.float64) - values[:, None, :]).min(2)
    counts = 1.0 if importance is None else np.tile(importance, (len(weight) // len(importance), 1))
    return float((counts * nearest**2).sum())


def energy(weight: Array, importance: Array | None) -> float:
    """What zeros would lose: sums are right to a share of it."""
    return lost(weight, importance, np.zeros(len(weight), np.float32), None, whole(0, 0))


def in_exact_units(weight: Array) -> Array:
    """With a largest weight of 1 in each group. What twins divide by is the same to the bit then, so that no
    weight that lies half-way between two codes is rounded up by one of them and down by the other."""
    return np.asarray(weight / np.abs(weight).max(1, keepdims=True), np.float32)


def tensor(array: Array | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)


def whole(low: int, high: int) -> Array:
    return np.arange(low, high + 1, dtype=np.float32)


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize(("groups", "width"), SHAPES)
def test_steps_lose_what_the_slow_twin_s_lose(
    groups: int, width: int, kind: str, random: np.random.Generator
) -> None:
    weight = in_exact_units(random.standard_normal((groups, width)).astype(np.float32))
    counts = importance_of(kind, groups, width, random)
    slow_weight, near = torch.from_numpy(weight), 3e-7 * energy(weight, counts)
    for low, high in ((-4, 3), (-32, 31)):
        fast = quantise.even_scale(weight, counts, low, high, 19)
        slow = search_torch.even_scale(slow_weight, tensor(counts), low, high, 19).numpy()
        errors = [lost(weight, counts, step, None, whole(low, high)) for step in (fast, slow)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-5, abs=near)
    fast = quantise.table_scale(weight, counts, IQ4_VALUES, 15)
    slow = search_torch.table_scale(slow_weight, tensor(counts), torch.from_numpy(IQ4_VALUES), 15).numpy()
    errors = [lost(weight, counts, step, None, IQ4_VALUES) for step in (fast, slow)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5, abs=near)


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize(("groups", "width"), SHAPES)
@pytest.mark.parametrize("below_zero", [False, True])
def test_steps_with_bases_lose_what_the_slow_twin_s_lose(
    groups: int, width: int, kind: str, below_zero: bool, random: np.random.Generator
) -> None:
    weight = random.standard_normal((groups, width)).astype(np.float32) + np.float32(0.5)
    counts = importance_of(kind, groups, width, random)
    for high in (3, 15):
        fast = quantise.even_scale_and_base(weight, counts, high, 21, below_zero=below_zero)
        slow = search_torch.even_scale_and_base(
            torch.from_numpy(weight), tensor(counts), high, 21, below_zero=below_zero
        )
        assert (fast[0] >= 0).all()
        assert not below_zero or (fast[1] <= 0).all()
        errors = [
            lost(weight, counts, step, base, whole(0, high))
            for step, base in (fast, (slow[0].numpy(), slow[1].numpy()))
        ]
        near = (1e-6 if width > 2 else 2e-4) * energy(weight, counts)  # all lines go through two weights
        assert errors[0] == pytest.approx(errors[1], rel=1e-4, abs=near)


@pytest.mark.parametrize("columns", [16, 48])
def test_importance_that_comes_again_and_again_weighs_as_if_each_group_had_its_own(
    columns: int, random: np.random.Generator
) -> None:
    weight = (
        random.standard_normal((35, columns)).astype(np.float32).reshape(-1, 16)
    )  # 35 rows: 16, 16 and 3 lanes
    counts = random.random((columns // 16, 16)).astype(np.float32) ** 4
    counts[0, :] = 0
    own = np.tile(counts, (35, 1))
    assert np.array_equal(
        quantise.even_scale(weight, counts, -4, 3, 21), quantise.even_scale(weight, own, -4, 3, 21)
    )
    units = np.full(len(weight), 0.1, np.float32), np.full(len(weight), 0.05, np.float32)
    chosen = np.full(len(weight), 5, np.float32), np.full(len(weight), 20, np.float32)
    shared, apart = (
        quantise.neighbours(weight, one, whole(0, 3), units, chosen, (0, 63)) for one in (counts, own)
    )
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(shared, apart, strict=True))


def test_a_search_is_the_same_on_any_number_of_threads(
    random: np.random.Generator, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    weight = random.standard_normal((2049, 32)).astype(np.float32)
    counts = random.random((3, 32)).astype(np.float32)
    same_on_any_threads(lambda: quantise.even_scale(weight, counts, -8, 7, 19))
    same_on_any_threads(lambda: quantise.table_scale(weight, counts, IQ4_VALUES, 3))
    same_on_any_threads(
        lambda: np.concatenate(quantise.even_scale_and_base(weight, None, 15, 5, below_zero=True))
    )


def test_a_group_s_step_does_not_depend_on_its_neighbours(random: np.random.Generator) -> None:
    weight = random.standard_normal((50, 32)).astype(np.float32)
    together = quantise.even_scale(weight, None, -8, 7, 19)
    alone = np.concatenate([quantise.even_scale(weight[i : i + 1], None, -8, 7, 19) for i in range(50)])
    assert together.tobytes() == alone.tobytes()


def test_halves_are_searched_as_the_floats_that_they_are(
    random: np.random.Generator,
    to_bf16: Callable[[Array], NDArray[np.uint16]],
    from_bf16: Callable[[NDArray[np.uint16]], Array],
) -> None:
    for half, wide in (
        (bits := to_bf16(random.standard_normal((20, 33))), from_bf16(bits)),
        (float16 := random.standard_normal((20, 33)).astype(np.float16), float16.astype(np.float32)),
    ):
        ours = quantise.even_scale_and_base(half, None, 15, 21, below_zero=True)
        theirs = quantise.even_scale_and_base(wide, None, 15, 21, below_zero=True)
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("power", [-100, 90])
def test_weights_a_power_of_two_larger_have_steps_as_much_larger(
    power: int, random: np.random.Generator
) -> None:
    weight = random.standard_normal((20, 32)).astype(np.float32)
    counts = random.random((1, 32)).astype(np.float32)
    factor = np.float32(2.0**power)
    for call in (
        lambda w, i: quantise.even_scale(w, i, -8, 7, 19),
        lambda w, i: quantise.table_scale(w, i, IQ4_VALUES, 15),
        lambda w, i: np.concatenate(quantise.even_scale_and_base(w, i, 15, 21, below_zero=True)),
    ):
        assert np.array_equal(call(weight * factor, counts), call(weight, counts) * factor)
        assert np.array_equal(call(weight, counts * factor), call(weight, counts))


def test_zeros_have_no_step_and_constants_are_met() -> None:
    weight = np.repeat(np.array([[0.0], [3.5], [-2.25]], np.float32), 32, axis=1)
    for counts in (None, np.ones((1, 32), np.float32)):
        step = quantise.even_scale(weight, counts, -8, 7, 19)
        assert step[0] == 0
        assert lost(weight, None, step, None, whole(-8, 7)) < 1e-10
        for below_zero in (False, True):
            step, base = quantise.even_scale_and_base(weight, counts, 15, 21, below_zero=below_zero)
            assert step[0] == base[0] == 0
            assert lost(weight, None, step, base, whole(0, 15)) < 1e-10


def test_a_group_that_no_text_has_reached_counts_all_its_weights_alike(random: np.random.Generator) -> None:
    weight = random.standard_normal((4, 32)).astype(np.float32)
    counts = np.zeros((1, 32), np.float32)
    plain = quantise.even_scale(weight, None, -8, 7, 19)
    assert np.array_equal(quantise.even_scale(weight, counts, -8, 7, 19), plain)


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize("table", [whole(0, 15), whole(-4, 3), IQ4_VALUES], ids=["0", "-4", "iq4"])
def test_neighbours_are_those_of_the_slow_twin(
    table: Array, with_base: bool, kind: str, random: np.random.Generator
) -> None:
    groups, width = 33, 16
    weight = random.standard_normal((groups, width)).astype(np.float32)
    weight[3] = 0
    counts = importance_of(kind, groups, width, random)
    span = float(np.abs(table).max())
    units = [np.full(groups, 2.5 / 31 / span, np.float32), np.full(groups, 2.0 / 31, np.float32)]
    chosen = [random.integers(10, 32, groups).astype(np.float32) for _ in range(2)]
    for one in units, chosen:
        one[1] = one[1] if with_base else None  # type: ignore[call-overload]
    limits = (-32, 31)
    fast = quantise.neighbours(weight, counts, table, tuple(units), tuple(chosen), limits)
    slow = shared_torch.neighbours(
        torch.from_numpy(weight),
        tensor(counts),
        torch.from_numpy(table),
        (torch.from_numpy(units[0]), tensor(units[1])),
        (torch.from_numpy(chosen[0]), tensor(chosen[1])),
        limits,
    )
    assert np.array_equal(fast[0], slow[0].numpy())
    assert (fast[1] is None) == (not with_base)
    if fast[1] is not None and slow[1] is not None:
        assert np.array_equal(fast[1], slow[1].numpy())
    np.testing.assert_allclose(fast[2], slow[2].numpy(), rtol=2e-5, atol=2e-4)
    step, base = fast[0] * units[0], None if fast[1] is None else -fast[1] * units[1]
    assert lost(weight, counts, step, base, table) == pytest.approx(float(fast[2][:, 0].sum()), rel=1e-4)
    first = None if not with_base else -chosen[1] * units[1]
    assert float(fast[2][:, 0].sum()) < lost(weight, counts, chosen[0] * units[0], first, table)


@pytest.mark.parametrize("group", [1, 5, 16, 32, 200])
@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("table", [whole(0, 255), whole(-4, 3), IQ4_VALUES], ids=["256", "8", "iq4"])
def test_a_code_is_that_of_the_nearest_value(
    table: Array, first: int, group: int, random: np.random.Generator
) -> None:
    rows, cols = 3, 150
    groups = -(-(first + cols) // group)
    step = (random.standard_normal((rows, groups)) / np.abs(table).max()).astype(np.float32)
    step[0, 0] = 0
    weight = random.standard_normal((rows, cols)).astype(np.float32)
    weight[1, :2] = 1e30, -1e30
    place = (first + np.arange(cols)) // group
    for base in (None, random.standard_normal((rows, groups)).astype(np.float32)):
        allowed = GroupValues(step, table, base, group)
        codes = quantise.nearest_codes(weight, allowed, first)
        values = quantise.code_values(codes, allowed, first)
        here = table[codes] * step[:, place]
        assert np.array_equal(values, here if base is None else here + base[:, place])
        every = table[:, None, None].astype(np.float64) * step[:, place] + (
            0 if base is None else base[:, place]
        )
        least = np.abs(every - weight).min(0)
        assert (np.abs(values - weight.astype(np.float64)) <= least * (1 + 1e-6) + 1e-6).all()


def test_rounding_is_the_same_on_any_number_of_threads(
    random: np.random.Generator, same_on_any_threads: Callable[[Callable[[], Array]], Array]
) -> None:
    weight = random.standard_normal((200, 128)).astype(np.float32)
    allowed = GroupValues(np.full((200, 4), 0.3, np.float32), whole(-8, 7), None, 32)
    codes = same_on_any_threads(lambda: quantise.nearest_codes(weight, allowed))
    same_on_any_threads(lambda: quantise.code_values(codes, allowed))


@pytest.mark.parametrize("table", [whole(0, 15), IQ4_VALUES / 16], ids=["even", "iq4"])
@pytest.mark.parametrize(("rows", "count"), [(1, 1), (17, 20), (40, 128)])
def test_feedback_makes_errors_good_as_a_plain_loop_does(
    rows: int,
    count: int,
    table: Array,
    random: np.random.Generator,
    same_on_any_threads: Callable[[Callable[[], Array]], Array],
) -> None:
    columns = random.permutation(300)[:count].astype(np.int32)
    step = (0.2 + random.random((rows, 10)) / 4).astype(np.float32)
    base = None if table[0] < 0 else -8 * step
    allowed = GroupValues(step, table, base, 32)
    factor = np.triu(random.standard_normal((count, count)) / 12).astype(np.float32)
    np.fill_diagonal(factor, 1 + random.random(count))
    weight = random.standard_normal((rows, count + 3)).astype(np.float32)[:, :count]
    codes = np.full((rows, 300), 99, np.uint8)
    errors = same_on_any_threads(lambda: quantise.feedback_block(weight, factor, columns, allowed, codes))
    left, untouched = weight.astype(np.float64), np.ones(300, bool)
    for i, column in enumerate(columns):
        group = column // 32
        values = table * step[:, group, None] + (0 if base is None else base[:, group, None])
        near = np.sort(np.abs(values - left[:, i, None]), axis=1)
        gap = np.abs(values[np.arange(rows), codes[:, column]] - left[:, i])
        assert (
            gap <= near[:, 0] + 1e-4
        ).all()  # what was chosen is a nearest value of what was wanted by then
        wanted = (left[:, i] - values[np.arange(rows), codes[:, column]]) / factor[i, i]
        np.testing.assert_allclose(errors[:, i], wanted, atol=1e-4)
        left[:, i + 1 :] -= wanted[:, None] * factor[i, i + 1 :]
        untouched[column] = False
    assert (codes[:, untouched] == 99).all()


def test_feedback_may_count_errors_from_other_weights_than_those_wanted(random: np.random.Generator) -> None:
    step, columns = np.full((20, 1), 0.5, np.float32), np.arange(24, dtype=np.int32)
    allowed = GroupValues(step, whole(-8, 7), None, 24)
    factor = np.triu(random.standard_normal((24, 24)) / 12).astype(np.float32)
    np.fill_diagonal(factor, 1)
    wanted, original = random.standard_normal((2, 20, 24)).astype(np.float32)
    codes = np.empty((20, 24), np.uint8)
    errors = quantise.feedback_block(wanted, factor, columns, allowed, codes, original)
    left = wanted.astype(np.float64)
    for i in range(24):
        np.testing.assert_array_equal(codes[:, i], np.clip(np.round(left[:, i] / 0.5), -8, 7) + 8)
        np.testing.assert_allclose(errors[:, i], original[:, i] - (codes[:, i] - 8.0) * 0.5, atol=1e-6)
        left -= errors[:, i, None] * np.where(np.arange(24) > i, factor[i], 0)
    with pytest.raises(ValueError, match="others in the beginning"):
        quantise.feedback_block(wanted, factor, columns, allowed, codes, original[:, :3])


def test_arrays_of_other_kinds_are_refused() -> None:
    weight, ones = np.ones((4, 32), np.float32), np.ones((3, 32), np.float32)
    with pytest.raises(ValueError, match="3 rows of importance for 4 groups"):
        quantise.even_scale(weight, ones, -8, 7, 19)
    with pytest.raises(ValueError, match=r"contiguous floats \(M, g\)"):
        quantise.even_scale(weight[::2], None, -8, 7, 19)
    with pytest.raises(ValueError, match=r"contiguous floats \(M, g\)"):
        quantise.even_scale(np.ones((4, 32), np.int8), None, -8, 7, 19)
    with pytest.raises(ValueError, match="0 trials"):
        quantise.even_scale(weight, None, -8, 7, 0)
    allowed = GroupValues(np.ones((4, 1), np.float32), whole(0, 3), None, 32)
    with pytest.raises(ValueError, match="4 rows to column 33"):
        quantise.nearest_codes(weight, allowed, 1)
    with pytest.raises(ValueError, match="a code of 4 in a table of 4"):
        quantise.code_values(np.full((4, 32), 4, np.uint8), allowed)
    with pytest.raises(ValueError, match="a column outside"):
        columns = np.array([32], np.int32)
        quantise.feedback_block(weight[:, :1], ones[:1, :1], columns, allowed, np.zeros((4, 32), np.uint8))
