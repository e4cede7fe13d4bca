"""From a start to the end: what is judged again after a stop, and what a stop is called."""

import errno
import json
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from llmkit.errors import GateFailed, StoppedResumable
from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.formats.lock import LOCK
from llmkit.formats.metrics import MetricsWriter
from llmkit.formats.provenance import Invocation
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.train.best import Best
from llmkit.train.config import PretrainConfig
from llmkit.train.guard import BadUpdateError
from llmkit.train.stop import StopRequest
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.job import Job, PretrainFiles
from llmkit.workflows.pretrain.model import ModelSource, build_model
from llmkit.workflows.run import saver
from llmkit.workflows.run.claim import locked
from llmkit.workflows.run.disk_full import DiskFullError
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.folder import REPLACED, Start, find_start
from llmkit.workflows.run.setup import set_up
from llmkit.workflows.run.training import Ended, _close, check_loss, run_training
from tests.workflows.run.rewind_bench import Bench

MODEL = ModelConfig(
    **{"vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 64},
)


@pytest.fixture
def go(make_data: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run four updates, evaluated at each, in `tmp_path/run`; gives what `finish` was shown.

    Where a division is given, the run goes on as if it had been divided so before.
    """

    def call(
        best: Best | None,
        stop: StopRequest | None = None,
        *,
        threads: int | None = 1,
        division: str | None = None,
    ) -> Any:
        data = make_data()
        config = PretrainConfig(
            device="cpu", steps=4, batch_rows=4, eval_every=1, checkpoint_every=1, threads=threads
        )
        setup = set_up(config, MODEL, data, None)
        files = PretrainFiles(data=(), out=tmp_path / "run")
        job = Job(files, config, None, data, data, ModelSource(MODEL, None, None), setup)
        files.out.mkdir(exist_ok=True)

        def build(job: Job, start: Start) -> Trainer:
            from llmkit.train.state import load_weights, restore_trainer

            model = build_model(job.source, 0, setup.device)
            if start.checkpoint is not None:
                model = load_weights(start.checkpoint, setup.device)
            trainer = Trainer(model, data.rows, setup.recipe, micro_batch_rows=4)
            if start.checkpoint is not None and start.state is not None:
                restore_trainer(trainer, start.checkpoint, start.state)
            return trainer

        start = find_start(files.out, setup.recipe, resume="auto", force=False, progress=SILENT)
        if division is not None and start.state is not None:
            start = replace(start, state=msgspec.structs.replace(start.state, division=division))
        how = {"build_trainer": build, "duties_of": build_duties, "best": best}
        ends: list[Ended] = []
        run_training(
            job,
            start,
            stop or StopRequest(),
            Invocation("pretrain"),
            SILENT,
            finish=lambda ended: ends.append(ended) or ended,
            **how,  # type: ignore[arg-type]
        )
        return ends[0]

    return call


def test_evaluations_from_before_a_resume_are_judged_again(go: Callable[..., Any]) -> None:
    first = Best()
    ended = go(first)
    assert ended.trainer.step == 4 and first.step is not None
    again = Best()
    ended = go(again)
    assert (again.step, again.loss) == (first.step, first.loss)
    assert ended.start.step == 4 and ended.saver.published.name == f"step-{first.step:08d}"


def test_a_stop_before_anything_was_saved_says_so(go: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(StoppedResumable, match=r"stopped at step 1 of 4 \(the time is over\); a checkpoint"):
        go(None, StopRequest(1e-9))
    assert go(None).start.step == 1


@pytest.mark.parametrize(("division", "expected"), [("one process", 2), ("dp 2", 1)])
def test_threads_stay_where_the_division_does(
    go: Callable[..., Any], tmp_path: Path, division: str, expected: int
) -> None:
    with pytest.raises(StoppedResumable):
        go(None, StopRequest(1e-9), threads=2)
    go(None, threads=None, division=division)  # one is enough for so small a model
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [one["threads"] for one in records if one.get("event") == "start"] == [2, expected]


def test_validation_is_judged_where_there_is_one(tmp_path: Path) -> None:
    check_loss(tmp_path, SimpleNamespace(loss=9.0, valid_loss=2.0), 3.0, hint="h")
    check_loss(tmp_path, SimpleNamespace(loss=9.0, valid_loss=None), None, hint="h")
    with pytest.raises(GateFailed, match=r"above 3 \(found 9\.0000\)"):
        check_loss(tmp_path, SimpleNamespace(loss=9.0, valid_loss=None), 3.0, hint="h")


def test_a_loss_that_is_no_number_passes_no_gate(tmp_path: Path) -> None:
    for loss, valid_loss in ((1.0, math.nan), (math.nan, None)):
        with pytest.raises(GateFailed, match=r"run: the loss is no number \(found nan\)"):
            check_loss(Path("run"), SimpleNamespace(loss=loss, valid_loss=valid_loss), 3.0, hint="h")
        check_loss(Path("run"), SimpleNamespace(loss=loss, valid_loss=valid_loss), None, hint="h")


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before_and_is_in_the_metrics(
    go: Callable[..., Any], tmp_path: Path
) -> None:
    go(None)
    last = tmp_path / "run" / "checkpoints" / "step-00000004"
    expected = (last / "model.safetensors").read_bytes()
    moments = last / "optimizer.safetensors"
    moments.write_bytes(moments.read_bytes()[:-1] + b"?")
    assert go(None).start.step == 3
    assert (last / "model.safetensors").read_bytes() == expected
    (told,) = _damaged(tmp_path / "run")
    assert (told["step"], told["path"]) == (3, "checkpoints/step-00000004")
    assert told["problem"].startswith("optimizer.safetensors is damaged")


def test_a_checkpoint_cut_short_is_in_the_metrics_once_and_an_older_one_is_not(
    go: Callable[..., Any], tmp_path: Path
) -> None:
    go(None)
    last = tmp_path / "run" / "checkpoints" / "step-00000004"
    weights = last / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (last.parent / "step-00000001").mkdir()  # as a kill leaves one that is being removed
    assert go(None).start.step == 3
    (told,) = _damaged(tmp_path / "run")
    assert (told["step"], told["path"]) == (3, "checkpoints/step-00000004")
    assert told["problem"].startswith("model.safetensors is ") and "bytes long, not" in told["problem"]


def _damaged(run: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record.get("event") == "damaged"]


def _checkpoint_state(bench: Bench) -> tuple[Any, bytes]:
    last = list_checkpoints(bench.out)[0][-1]
    state = json.loads((last / "state.json").read_text())["trainer"]
    return state, (last / "optimizer.safetensors").read_bytes()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("update", "kept"), [(7, [4, 6]), (3, [2]), (1, [])])
def test_a_run_that_a_spike_ends_goes_on_with_skip_as_one_that_skipped_from_the_start(
    make_data: Callable[..., Any], tmp_path: Path, update: int, kept: list[int], is_async: bool
) -> None:
    more: Any = {"bad": [4 * (update - 1)], "async_checkpoint": is_async}
    straight = Bench(tmp_path / "straight", make_data(), **more, on_spike="skip")
    expected = straight.go()
    stopped = Bench(tmp_path / "run", make_data(), **more, on_spike="stop")
    for _ in range(2):  # the same line comes to the same end
        with pytest.raises(BadUpdateError, match=rf"step {update}: .* is a spike"):
            stopped.go()
        assert stopped.events("stop")[-1]["reason"] == "spike"
        assert [step_of(folder) for folder in list_checkpoints(stopped.out)[0]] == kept
    bench = Bench(tmp_path / "run", make_data(), **more, on_spike="skip")
    found = bench.go()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert _checkpoint_state(bench) == _checkpoint_state(straight)


def test_a_disk_that_fills_up_ends_the_run_with_what_is_saved_and_the_same_line_goes_on(
    make_data: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Bench(tmp_path / "straight", make_data(), bad=[]).go()
    bench, write = Bench(tmp_path / "run", make_data(), bad=[]), saver.write_snapshot

    def fill(snapshot: Any, *words: Any) -> None:
        if snapshot.state.trainer["step"] == 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(snapshot, *words)

    monkeypatch.setattr(saver, "write_snapshot", fill)
    with pytest.raises(DiskFullError) as caught:
        bench.go()
    assert caught.value.problem == f"{bench.out}/checkpoints/step-00000008: no space left on device"
    assert caught.value.hint == "free some space; step 4 is saved, and the same line goes on"
    assert bench.events("stop")[-1]["reason"] == "disk_full"
    monkeypatch.undo()
    found = bench.go()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_metrics_without_room_end_the_run_alike_though_there_is_none_for_its_end_either(
    make_data: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, append = Bench(tmp_path / "run", make_data(), bad=[]), MetricsWriter._append

    def fill(writer: MetricsWriter, line: bytes) -> None:
        if b'"step":6' in line:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(writer, line)

    monkeypatch.setattr(MetricsWriter, "_append", fill)
    with pytest.raises(DiskFullError) as caught:
        bench.go()
    assert caught.value.problem == f"{bench.out}/metrics.jsonl: no space left on device"
    assert caught.value.hint == "free some space; step 4 is saved, and the same line goes on"
    assert bench.events("stop") == []


def test_a_run_that_was_set_aside_is_not_brought_back_into_a_folder_that_is_anothers(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    with ExitStack() as first:
        claim = first.enter_context(locked(out))
        (out / REPLACED).mkdir()
        (out / LOCK).rename(out / "old")
        (out / LOCK).touch()
        _close(out, claim)
        assert (out / REPLACED).exists()
        (out / "old").rename(out / LOCK)
        _close(out, claim)
        assert not (out / REPLACED).exists()
