"""Which updates a profile records, and what its table says."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.train.step_profile import (
    OperatorCost,
    StepProfiler,
    Window,
    costs_table,
    operator_costs,
    parse_window,
)


@pytest.mark.parametrize(
    ("text", "window"), [("10:3", Window(10, 3)), ("0:1", Window(0, 1)), ("7", Window(7, 3))]
)
def test_a_window_is_a_wait_and_a_count(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", ":", "3:0", "-1:2", "a", "1:2:3", "1:", "²"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--profile {text}") as caught:
        parse_window(text)
    assert "--profile 10:3" in caught.value.hint


def test_a_window_is_cut_where_the_run_ends() -> None:
    assert Window(10, 3).clipped(12) == Window(10, 2)
    assert Window(10, 3).clipped(10).count == Window(10, 3).clipped(4).count == 0


@pytest.mark.parametrize(("wait", "first_step"), [(2, 1), (0, 1), (1, 41)])
def test_the_recorded_updates_are_those_of_the_window(wait: int, first_step: int, tmp_path: Path) -> None:
    """Each update makes a matrix product of its own shape: the trace says which were recorded."""
    found: list[Any] = []

    def write(export: Any, costs: list[OperatorCost], first: int, last: int) -> None:
        export(tmp_path / "trace.json")
        found.append((costs, first, last))

    profiler = StepProfiler(Window(wait, 2), first_step, on_cuda=False, write=write)
    for step in range(first_step, first_step + 6):
        with profiler.watch(step):
            torch.ones(step, 5) @ torch.ones(5, 3)
    ((costs, first, last),) = found
    assert (first, last) == (first_step + wait, first_step + wait + 1)
    trace = json.loads((tmp_path / "trace.json").read_text())
    products = [one for one in trace["traceEvents"] if one.get("name") == "aten::mm"]
    assert [one["args"]["Input Dims"][0][0] for one in products] == [first, last]
    marks = {one.get("name") for one in trace["traceEvents"] if "ProfilerStep" in one.get("name", "")}
    assert marks == {f"ProfilerStep#{first}", f"ProfilerStep#{last}"}  # as the metrics number them
    assert {one.name: one.calls for one in costs}["aten::mm"] == 1
    assert sum(one.share for one in costs) == pytest.approx(1)


def test_a_run_that_goes_back_is_not_recorded_twice() -> None:
    found: list[int] = []
    profiler = StepProfiler(
        Window(0, 1), 1, on_cuda=False, write=lambda export, costs, first, last: found.append(first)
    )
    for step in (1, 2, 1, 2):
        with profiler.watch(step):
            torch.ones(3) + 1
    assert found == [1]


def test_an_empty_window_records_nothing() -> None:
    profiler = StepProfiler(Window(1, 0), 1, on_cuda=False, write=lambda *_: pytest.fail("recorded"))
    for step in (1, 2, 3):
        with profiler.watch(step):
            pass


def event(key: str, count: int, cpu: float, device: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(key=key, count=count, self_cpu_time_total=cpu, self_device_time_total=device)


def test_costs_are_for_an_update_and_the_gpu_decides_where_there_is_one() -> None:
    events = [event("a", 4, 1e6, 0.0), event("b", 2, 3e6, 5e5), event("ProfilerStep#3", 2, 9e9)]
    assert operator_costs([events[0], event("b", 2, 3e6)], 2) == [
        OperatorCost("b", 1, 1.5, 0.75),
        OperatorCost("a", 2, 0.5, 0.25),
    ]
    assert operator_costs(events, 2) == [OperatorCost("b", 1, 0.25, 1.0)]


def test_a_table_has_ten_operators_and_the_rest_in_one_line() -> None:
    costs = [OperatorCost(f"op{number}", 2, 0.001, 1 / 12) for number in range(12)]
    lines = costs_table(costs).splitlines()
    assert lines[0].split() == ["operator", "calls", "ms", "share"]
    assert lines[1].split() == ["op0", "2", "1.00", "8.3%"]
    assert len(lines) == 12 and lines[-1].split() == ["2", "more", "16.7%"]
