"""What a run will do: what it takes, by hand, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from llmkit.errors import ResourceError
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak
from llmkit.train.parallel.degrees import Degrees
from llmkit.workflows.pretrain import plan as pretrain_plan
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.plan import PretrainPlan, check_resources, plan_run
from llmkit.workflows.pretrain.process_memory import run_memory
from llmkit.workflows.run.memory import RUNTIME_BYTES
from llmkit.workflows.run.setup import set_up
from tests.workflows.small_setup import MODEL

MakeData = Callable[..., PretrainData]


@pytest.fixture
def plan(make_data: MakeData, tmp_path: Path) -> PretrainPlan:
    """Six updates of four rows."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4, keep=3, threads=1)
    setup = set_up(config, MODEL, make_data(), None)
    return plan_run(setup, config, MODEL, make_data(), tmp_path / "not" / "yet")


def test_a_plans_figures_follow_from_each_other(plan: PretrainPlan) -> None:
    assert plan.parameters == sum(weight.numel() for weight in Transformer(MODEL).parameters())
    assert (plan.batch_tokens, plan.total_tokens) == (4 * 8, 6 * 4 * 8)
    assert plan.epochs == 6 * 4 / 20
    assert plan.total_flops == plan.flops_per_token * 6 * 4 * 8
    assert plan.total_seconds == pytest.approx(6 * plan.step_seconds)
    assert (plan.time_source, plan.threads, plan.resume_step) == ("measured step", 1, 0)
    assert plan.disk_bytes == 4 * plan.checkpoint_bytes  # three kept and one being written
    assert 12 * plan.parameters <= plan.checkpoint_bytes < 12 * plan.parameters + (64 << 10)
    assert plan.disk_free_bytes > 0


def test_planning_writes_nothing_and_gives_the_threads_back(plan: PretrainPlan, make_data: MakeData) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = PretrainConfig(device="cpu", steps=1, threads=1)
        plan_run(set_up(config, MODEL, make_data(), None), config, MODEL, make_data(), Path(plan.out))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not Path(plan.out).exists()


def test_a_step_too_long_to_measure_is_estimated_at_a_share_of_the_peak(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    work = setup.flops_per_token * 4 * 8
    monkeypatch.setattr(pretrain_plan, "measure_peak", lambda *_: Peak(work / 2.0, "a slow machine"))
    plan = plan_run(setup, config, MODEL, make_data(), tmp_path)
    assert plan.step_seconds == pytest.approx(2.0 / 0.4)
    assert (plan.time_source, plan.peak_source) == ("estimated at 40% of the peak", "a slow machine")


def test_a_calibrated_plan_has_the_middle_of_steps_however_long_they_take(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 4, 3, 2 and 5 seconds by the clock: the first warms up, and ten seconds are enough."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    monkeypatch.setattr(pretrain_plan, "estimate_step", lambda *_: (3600.0, "a guess"))
    ticks = iter([0.0, 4.0, 4.0, 7.0, 7.0, 9.0, 9.0, 14.0])
    monkeypatch.setattr(pretrain_plan.time, "perf_counter", lambda: next(ticks))
    steps: list[int] = []
    trainer = SimpleNamespace(train_step=lambda: steps.append(1), close=lambda: steps.append(0))
    found = pretrain_plan.time_step(setup, Peak(1.0, ""), lambda: trainer, calibrate=True)  # type: ignore[arg-type,return-value]
    assert found == (3.0, "median of 3 measured steps") and steps == [1, 1, 1, 1, 0]
    assert pretrain_plan.time_step(setup, Peak(1.0, ""), lambda: trainer) == (3600.0, "a guess")  # type: ignore[arg-type,return-value]


def test_a_plan_tells_tokens_a_second(plan: PretrainPlan) -> None:
    assert plan.tokens_per_second == pytest.approx(plan.batch_tokens / plan.step_seconds)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("free_bytes", r"run: 3 checkpoints and one being written"),
        ("available_memory_bytes", "training takes"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    config = PretrainConfig(device="cpu", steps=6, keep=3)
    setup = set_up(config, MODEL, make_data(), None)
    check_resources(setup, config, MODEL, tmp_path / "run")
    monkeypatch.setattr(pretrain_plan, name, lambda _: 1000)
    with pytest.raises(ResourceError, match=rf"{message}.*found 1,000") as caught:
        check_resources(setup, config, MODEL, tmp_path / "run")
    assert "--keep 1" in caught.value.hint or "--micro-batch-rows 1" in caught.value.hint


def test_a_machine_that_does_not_tell_its_memory_is_not_held_back(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain_plan, "available_memory_bytes", lambda _: None)
    config = PretrainConfig(device="cpu")
    check_resources(set_up(config, MODEL, make_data(), None), config, MODEL, tmp_path)


def test_a_plan_of_several_processes_is_made_by_one_and_says_what_each_takes_and_sends(
    make_data: MakeData, tmp_path: Path, plan: PretrainPlan
) -> None:
    assert (plan.processes, plan.division, plan.all_memory_bytes, plan.sent_bytes) == (
        *(1, "one process", None),
        {},
    )
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4, threads=1)
    setup = set_up(config, MODEL, make_data(), None, degrees=Degrees(dp=4))
    made = plan_run(setup, config, MODEL, make_data(), tmp_path / "run", processes_here=4)
    assert (made.processes, made.division) == (4, "dp 4")
    assert made.all_memory_bytes == 4 * made.memory_bytes  # alike many in each
    assert made.sent_bytes == {"gradients": 2 * 3 * 4 * made.parameters // 4}
    assert made.time_source == "estimated at 40% of the peak"  # nothing was started that could be timed


def test_processes_on_one_machine_are_held_to_its_memory_together(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None, degrees=Degrees(dp=4))
    one, runtime = run_memory(setup, config, MODEL).first, RUNTIME_BYTES["cpu"]
    monkeypatch.setattr(pretrain_plan, "available_memory_bytes", lambda _: one + 2 * (one - runtime))
    check_resources(setup, config, MODEL, tmp_path / "run", processes_here=3)
    with pytest.raises(ResourceError, match="training takes about"):
        check_resources(setup, config, MODEL, tmp_path / "run", processes_here=4)


def test_the_peak_of_processes_that_share_cores_is_that_of_the_cores(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", batch_rows=4, threads=2)
    setup = set_up(config, MODEL, make_data(), None, degrees=Degrees(dp=4))
    monkeypatch.setattr(pretrain_plan, "cores", lambda: 4)
    one = Peak(1e9, "a machine")
    assert pretrain_plan.peak_of_all(setup, one, 4).flops_per_second == 2e9  # two at a time
    assert pretrain_plan.peak_of_all(setup, one, 2).flops_per_second == 4e9  # two machines
    assert pretrain_plan.peak_of_all(replace(setup, degrees=Degrees()), one, 1) is one
