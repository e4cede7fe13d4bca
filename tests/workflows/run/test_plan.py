"""What is asked of a machine before a run: how long an update takes, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmkit.errors import ResourceError
from llmkit.formats.checkpoint import COMPLETE, write_checkpoint
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import Peak
from llmkit.train.parallel.degrees import Degrees
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run import plan as run_plan
from llmkit.workflows.run.memory import RUNTIME_BYTES, RunMemory
from llmkit.workflows.run.plan import Needs, check_needs, sent_in_update
from llmkit.workflows.run.setup import set_up
from tests.workflows.small_setup import MODEL, setup_of

MakeData = Callable[..., PretrainData]


def test_a_calibrated_plan_has_the_middle_of_steps_however_long_they_take(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 4, 3, 2 and 5 seconds by the clock: the first warms up, and ten seconds are enough."""
    config = PretrainConfig(device="cpu", steps=6, batch_rows=4)
    setup = set_up(config, MODEL, make_data(), None)
    monkeypatch.setattr(run_plan, "estimate_step", lambda *_: (3600.0, "a guess"))
    ticks = iter([0.0, 4.0, 4.0, 7.0, 7.0, 9.0, 9.0, 14.0])
    monkeypatch.setattr(run_plan.time, "perf_counter", lambda: next(ticks))
    steps: list[int] = []
    trainer = SimpleNamespace(train_step=lambda: steps.append(1), close=lambda: steps.append(0))
    found = run_plan.time_step(setup, Peak(1.0, ""), lambda: trainer, calibrate=True)  # type: ignore[arg-type,return-value]
    assert found == (3.0, "median of 3 measured steps") and steps == [1, 1, 1, 1, 0]
    assert run_plan.time_step(setup, Peak(1.0, ""), lambda: trainer) == (3600.0, "a guess")  # type: ignore[arg-type,return-value]


def test_a_trainer_that_is_timed_is_closed_when_a_step_fails(make_data: MakeData) -> None:
    setup = set_up(PretrainConfig(device="cpu", steps=6, batch_rows=4), MODEL, make_data(), None)
    closed: list[bool] = []

    def fail() -> None:
        raise MemoryError

    trainer = SimpleNamespace(train_step=fail, close=lambda: closed.append(True))
    with pytest.raises(MemoryError):
        run_plan.time_step(setup, Peak(1e18, ""), lambda: trainer)  # type: ignore[arg-type,return-value]
    assert closed == [True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("free_bytes", r"run: 3 checkpoints and one being written take about 8,000 bytes"),
        ("available_memory_bytes", "training takes about 5,000,000,000 bytes"),
    ],
)
def test_a_run_that_cannot_end_well_is_refused(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    setup, needs = setup_of(make_data()), Needs(RunMemory(5_000_000_000, 0), 2000, 3)
    monkeypatch.setattr(run_plan, "available_memory_bytes", lambda _: None)  # it does not tell: not held back
    check_needs(setup, needs, tmp_path / "run", "a diet")
    monkeypatch.setattr(run_plan, name, lambda _: 1000)
    with pytest.raises(ResourceError, match=rf"{message}.*found 1,000") as caught:
        check_needs(setup, needs, tmp_path / "run", "a diet")
    assert "--keep 1" in caught.value.hint or "--micro-batch-rows 1, a diet" in caught.value.hint


def test_checkpoints_that_are_there_are_not_asked_for_again(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are kept and one is written; two are there, of 2000 bytes with their markers."""
    setup, needs, out = setup_of(make_data()), Needs(RunMemory(1, 1), 2000, 3), tmp_path / "run"
    out.mkdir()
    for step in (1, 2):
        folder = write_checkpoint(out, step, lambda folder: None)
        (folder / "padding").write_bytes(bytes(2000 - (folder / COMPLETE).stat().st_size))
    monkeypatch.setattr(run_plan, "free_bytes", lambda _: 4000)
    check_needs(setup, needs, out, "a diet")
    monkeypatch.setattr(run_plan, "free_bytes", lambda _: 3999)
    with pytest.raises(ResourceError, match=r"about 8,000 bytes \(found 4,000 of them there, and 3,999 free"):
        check_needs(setup, needs, out, "a diet")
    for step in range(3, 9):  # of a run that was to keep more: each new one is written beside them
        folder = write_checkpoint(out, step, lambda folder: None)
        (folder / "padding").write_bytes(bytes(2000))
    monkeypatch.setattr(run_plan, "free_bytes", lambda _: 1999)
    with pytest.raises(ResourceError, match="found 6,000 of them there"):
        check_needs(setup, needs, out, "a diet")


def test_processes_on_one_machine_are_held_to_its_memory_together(
    make_data: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there already have imported what each has to."""
    setup, runtime = setup_of(make_data()), RUNTIME_BYTES["cpu"]
    needs = Needs(RunMemory(runtime + 900, runtime + 400), 1, 1)
    monkeypatch.setattr(run_plan, "available_memory_bytes", lambda _: runtime + 900 + 2 * 400)
    check_needs(setup, needs, tmp_path / "run", "", processes_here=3)
    with pytest.raises(ResourceError, match="training takes about"):
        check_needs(setup, needs, tmp_path / "run", "", processes_here=4)


def test_the_peak_of_processes_that_share_cores_is_that_of_the_cores(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(device="cpu", batch_rows=4, threads=2)
    setup = set_up(config, MODEL, make_data(), None, degrees=Degrees(dp=4))
    monkeypatch.setattr(run_plan, "cores", lambda: 4)
    one = Peak(1e9, "a machine")
    assert run_plan.peak_of_all(setup, one, 4).flops_per_second == 2e9  # two at a time
    assert run_plan.peak_of_all(setup, one, 2).flops_per_second == 4e9  # two machines
    assert run_plan.peak_of_all(replace(setup, degrees=Degrees()), one, 1) is one


def test_pieces_of_rows_are_what_is_sent_of_them(make_data: MakeData) -> None:
    setup = replace(setup_of(make_data(), batch_rows=4), degrees=Degrees(tp=2))
    config = PretrainConfig()
    whole = sent_in_update(setup, config, MODEL)["activations"]
    half = replace(setup, degrees=Degrees(dp=2, tp=2))
    assert sent_in_update(half, config, MODEL)["activations"] == whole / 2  # of half of the rows
    assert sent_in_update(replace(setup, degrees=Degrees()), config, MODEL) == {}
