"""The machine's own speed: bytes and operations over seconds of a clock that the test winds."""

from itertools import count

import pytest
import torch

from llmkit.probe import machine_speed
from llmkit.probe.machine_speed import SpeedProbe

STREAM = 1 << 16


@pytest.fixture
def threads_kept() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_figures_are_bytes_and_operations_over_seconds(
    monkeypatch: pytest.MonkeyPatch, threads_kept: object
) -> None:
    # copy 0.5 s, matrix-vector product 0.125 s, then two tries each of two products
    times = iter([0.5, 0.125, 0.25, 0.0625, 1.0, 2.0])
    monkeypatch.setattr(machine_speed, "_LONG_SECONDS", 10.0)
    monkeypatch.setattr(machine_speed, "_seconds", lambda work: next(times))
    monkeypatch.setattr(machine_speed, "available", lambda: False)
    probe = SpeedProbe(stream_bytes=STREAM, sides=(4, 8))
    probe.measure([(1, "float32")])
    best = probe.best(1, "float32")
    assert best.bytes_per_second == max(2 * STREAM / 0.5, STREAM / 0.125)
    assert best.bytes_source.startswith("matrix-vector product")
    assert best.flops_per_second == max(2 * 4**3 / 0.0625, 2 * 8**3 / 1.0)
    assert best.flops_source == "product of 4 x 4"


def test_the_best_of_all_times_is_kept(monkeypatch: pytest.MonkeyPatch, threads_kept: object) -> None:
    pace = count(1)
    monkeypatch.setattr(machine_speed, "available", lambda: False)
    monkeypatch.setattr(machine_speed, "_seconds", lambda work: float(next(pace)))  # ever slower
    probe = SpeedProbe(stream_bytes=STREAM, sides=(4,))
    probe.measure([(1, "float32")])
    first = probe.best(1, "float32")
    probe.measure([(1, "float32")])
    assert probe.best(1, "float32") == first


def test_what_our_kernels_read_counts_where_it_is_more(
    monkeypatch: pytest.MonkeyPatch, threads_kept: object
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(machine_speed, "_seconds", lambda work: 1.0)
    monkeypatch.setattr(machine_speed, "available", lambda: True)
    monkeypatch.setattr(machine_speed, "set_threads", lambda number: asked.append((number, 0)))
    monkeypatch.setattr(
        machine_speed, "memory_bandwidth", lambda size, repeats: asked.append((size, repeats)) or 7.0 * STREAM
    )
    probe = SpeedProbe(stream_bytes=STREAM, sides=(4,))
    probe.measure([(3, "float32")])
    assert asked == [(3, 0), (STREAM, 2)]
    assert probe.best(3, "float32").bytes_per_second == 7 * STREAM


def test_no_larger_product_follows_one_that_took_long(
    monkeypatch: pytest.MonkeyPatch, threads_kept: object
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(machine_speed, "_seconds", lambda work: calls.append(work) or 1.0)
    SpeedProbe(stream_bytes=STREAM, sides=(4, 8, 16)).measure([(1, "float32")])
    assert len(calls) == 2 + 2


def test_the_ceiling_of_a_dtype_that_is_slow_here_is_what_float32_reaches(
    monkeypatch: pytest.MonkeyPatch, threads_kept: object
) -> None:
    times = iter([1.0, 1.0, 8.0, 8.0, 2.0, 2.0, 1.0, 1.0])  # two of bandwidth, bfloat16, two of float32
    monkeypatch.setattr(machine_speed, "_LONG_SECONDS", 3.0)
    monkeypatch.setattr(machine_speed, "_seconds", lambda work: next(times))
    monkeypatch.setattr(machine_speed, "available", lambda: False)
    probe = SpeedProbe(stream_bytes=STREAM, sides=(4, 8))
    probe.measure([(1, "bfloat16")])
    best = probe.best(1, "bfloat16")
    assert (best.dtype, best.flops_per_second) == ("bfloat16", 2 * 8**3 / 1.0)
    assert best.flops_source == "product of 8 x 8 in float32"


def test_every_pair_is_measured_and_threads_are_those_asked_for(threads_kept: object) -> None:
    probe = SpeedProbe(stream_bytes=STREAM, sides=(8,))
    pairs = [(1, "float32"), (1, "bfloat16"), (2, "float32")]
    probe.measure(pairs)
    found = [probe.best(*pair) for pair in pairs]
    assert [(one.threads, one.dtype) for one in found] == pairs
    assert all(one.bytes_per_second > 0 and one.flops_per_second > 0 for one in found)
    assert found[0].bytes_per_second == found[1].bytes_per_second  # bandwidth knows no dtype
