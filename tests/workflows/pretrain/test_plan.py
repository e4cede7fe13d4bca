"""What a run will do: what it takes, by hand, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from llmkit.workflows.run import plan as run_plan
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


def test_the_time_of_a_plan_counts_a_forward_pass_over_every_row_of_every_evaluation(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(valid: PretrainData | None, **more: Any) -> PretrainPlan:
        config = PretrainConfig(device="cpu", steps=7, batch_rows=4, eval_every=3, **more)
        setup = set_up(config, MODEL, make_data(), None)
        return plan_run(setup, config, MODEL, make_data(), tmp_path, valid=valid)

    monkeypatch.setattr(pretrain_plan, "time_step", lambda *_, **__: (1.2, "a clock"))
    plan = planned(make_data(count=30))
    assert (plan.evaluations, plan.evaluation_rows) == (3, 30)  # after 3, 6 and 7 updates
    assert plan.evaluation_seconds == pytest.approx(3 * 30 * 0.3 / 3)  # forwards, not backwards
    assert plan.total_seconds == pytest.approx(7 * 1.2 + plan.evaluation_seconds)
    assert planned(make_data(count=30), eval_rows=10).evaluation_rows == 10
    assert planned(make_data(count=5), eval_rows=10).evaluation_rows == 5
    again = planned(make_data(count=30), activation_checkpointing="full")
    assert again.evaluation_seconds == pytest.approx(3 * 30 * 0.3 / 4)  # an update has two of them
    assert planned(None).total_seconds == pytest.approx(7 * 1.2)


def test_a_plan_tells_tokens_a_second(plan: PretrainPlan) -> None:
    assert plan.tokens_per_second == pytest.approx(plan.batch_tokens / plan.step_seconds)


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


def test_a_run_is_held_to_the_memory_of_all_its_processes(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None, degrees=Degrees(dp=4))
    one, runtime = run_memory(setup, config, MODEL).first, RUNTIME_BYTES["cpu"]
    monkeypatch.setattr(run_plan, "available_memory_bytes", lambda _: one + 2 * (one - runtime))
    check_resources(setup, config, MODEL, tmp_path / "run", processes_here=3)
    with pytest.raises(ResourceError, match="training takes about"):
        check_resources(setup, config, MODEL, tmp_path / "run", processes_here=4)
