"""Checkpoints of a run: in the right order of writes, the right ones kept, the folder up to date."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.formats.checkpoint import list_checkpoints, step_of
from llmkit.formats.lock import LOCK
from llmkit.model.config import ModelConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.guard import BadUpdateError, Verdict
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run import saver as run_saver
from llmkit.workflows.run.claim import FolderLostError, locked
from llmkit.workflows.run.disk_full import DiskFullError
from llmkit.workflows.run.folder import REPLACED
from llmkit.workflows.run.saver import inside
from tests.workflows.duties_bench import Bench, bench_maker


@pytest.fixture
def make_bench(make_data: Callable[..., PretrainData], tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Runs of four updates in `tmp_path/run`."""
    with bench_maker(make_data, tmp_path) as make:
        yield make


def _names(bench: Bench) -> list[str]:
    return [folder.name for folder in list_checkpoints(bench.out)[0]]


def test_a_step_is_saved_once_and_told_once(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.saver()  # nothing was learnt yet
    assert not (bench.out / "checkpoints").exists() and bench.writer.records == []
    bench.trainer.train_step()
    bench.saver()
    bench.saver()
    assert (_names(bench), bench.saver.last_step) == (["step-00000001"], 1)
    (record,) = bench.writer.records
    assert (record["event"], record["step"], record["path"]) == (
        *("checkpoint", 1, "checkpoints/step-00000001"),
    )
    assert record["write_seconds"] >= 0


def test_metrics_are_on_the_disk_before_the_checkpoint_that_goes_on_from_them(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    for _ in range(2):
        bench.trainer.train_step()
        bench.saver()
    assert bench.writer.synced == [[], ["step-00000001"]]


def test_the_run_folder_follows_the_newest_checkpoint_and_old_ones_go(
    make_bench: Callable[..., Bench], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench(keep=2)
    byte_tokenizer.save(bench.out)
    for _ in range(4):
        bench.trainer.train_step()
        bench.saver()
    assert _names(bench) == ["step-00000003", "step-00000004"]
    newest = bench.out / "checkpoints" / "step-00000004"
    for name in ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json"):
        assert (bench.out / name).samefile(newest / name)
    assert json.loads((newest / "state.json").read_text())["trainer"]["step"] == 4


def test_the_run_that_was_set_aside_goes_with_the_first_checkpoint(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    (bench.out / REPLACED).mkdir()
    (bench.out / REPLACED / "model.safetensors").write_text("old")
    bench.trainer.train_step()
    bench.saver()
    assert not (bench.out / REPLACED).exists()
    assert (bench.out / "model.safetensors").read_bytes() != b"old"


def test_a_small_checkpoint_is_written_at_once_and_a_large_one_not(make_bench: Callable[..., Bench]) -> None:
    assert make_bench().saver.is_quick()
    # 12 bytes a parameter: 64 MiB are about 5.6 million
    large = ModelConfig(
        vocab_size=259, hidden_size=1024, intermediate_size=1024, num_hidden_layers=1, num_attention_heads=8
    )
    assert not make_bench(model=large).saver.is_quick()


def test_checkpoints_that_stay_do_not_count_among_the_last_ones(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(keep=1, keep_every=2)
    for _ in range(4):
        bench.trainer.train_step()
        bench.saver()
    assert _names(bench) == ["step-00000002", "step-00000004"]


def test_only_what_was_due_by_its_step_is_an_anchor_and_it_is_spared_where_runs_go_back(
    make_bench: Callable[..., Bench],
) -> None:
    for reaction, kept in (("rewind", [2, 3]), ("skip", [3])):
        bench = make_bench(keep=1, checkpoint_every=2, on_spike=reaction)
        assert bench.saver.anchor is None
        for _ in range(3):  # as if stops had come at 1 and at 3
            bench.trainer.train_step()
            bench.saver()
        assert [step_of(folder) for folder in list_checkpoints(bench.out)[0]] == kept
        anchor = bench.saver.anchor
        assert (anchor is None or step_of(anchor)) == (2 if reaction == "rewind" else True)
        for folder in list_checkpoints(bench.out)[0]:
            (folder / "COMPLETE").unlink()


def test_going_back_leaves_the_run_folder_as_it_was_then(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    for _ in range(2):
        bench.trainer.train_step()
        bench.saver()
    undone = bench.saver.go_back(1)
    assert [(one["event"], one["step"]) for one in undone] == [("checkpoint", 2)]
    assert [one["step"] for one in bench.writer.records] == [1]
    assert (_names(bench), bench.saver.last_step) == (["step-00000001"], 1)
    first = bench.out / "checkpoints" / "step-00000001"
    assert (bench.out / "model.safetensors").samefile(first / "model.safetensors")


def test_a_path_is_told_as_seen_from_the_run(tmp_path: Path) -> None:
    assert inside(tmp_path / "checkpoints" / "step-1", tmp_path) == "checkpoints/step-1"
    with pytest.raises(ValueError, match="is not in the subpath"):
        inside(Path("/elsewhere"), tmp_path)


class Gate:
    """Lets checkpoints be written once it is opened; counts those that wait at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.entered, self.most = threading.Event(), threading.Event(), 0
        original, inside_now = run_saver.write_checkpoint, 0

        def write(*words: Any) -> Path:
            nonlocal inside_now
            inside_now += 1
            self.most = max(self.most, inside_now)
            self.entered.set()
            assert self.opened.wait(30)
            folder = original(*words)
            inside_now -= 1
            return folder

        monkeypatch.setattr(run_saver, "write_checkpoint", write)


def _contents(bench: Bench, step: int) -> dict[str, bytes]:
    folder = bench.out / "checkpoints" / f"step-{step:08d}"
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_is_written_beside_is_the_step_it_was_copied_at(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_bench()
    plain.trainer.train_step()
    torch.manual_seed(0)  # the generator's state is saved too
    plain.saver()
    expected = _contents(plain, 1)
    shutil.rmtree(plain.out)
    bench, gate = make_bench(async_checkpoint=True), Gate(monkeypatch)
    bench.trainer.train_step()
    torch.manual_seed(0)
    bench.saver()
    torch.rand(3)
    assert gate.entered.wait(30)
    bench.trainer.train_step()  # training goes on meanwhile
    bench.saver.notice()  # not over yet: nothing to tell, and no waiting
    assert bench.writer.records == [] and _names(bench) == []
    gate.opened.set()
    bench.saver.wait()
    assert _contents(bench, 1) == expected
    (record,) = bench.writer.records
    assert (record["event"], record["step"]) == ("checkpoint", 1)
    assert record["stall_seconds"] >= 0 and record["write_seconds"] >= 0
    bench.saver.wait()  # a second time there is nothing
    assert len(bench.writer.records) == 1


def test_one_checkpoint_at_a_time_is_written_beside_in_the_order_of_steps(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, gate = make_bench(async_checkpoint=True, keep=1), Gate(monkeypatch)
    bench.trainer.train_step()
    bench.saver()
    bench.trainer.train_step()
    second = threading.Thread(target=bench.saver)
    second.start()
    assert gate.entered.wait(30) and second.is_alive()  # waits for the first
    gate.opened.set()
    second.join(30)
    bench.saver.wait()
    assert (gate.most, [record["step"] for record in bench.writer.records]) == (1, [1, 2])
    assert _names(bench) == ["step-00000002"]
    newest = bench.out / "checkpoints" / "step-00000002"
    assert (bench.out / "model.safetensors").samefile(newest / "model.safetensors")


@pytest.mark.parametrize("when", ["notice", "wait", "__call__"])
def test_a_failure_beside_is_one_of_the_run_and_the_last_good_one_stays(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    bench = make_bench(async_checkpoint=True)
    bench.trainer.train_step()
    bench.saver()
    bench.saver.wait()

    def refuse(*words: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_saver, "write_snapshot", refuse)
    bench.trainer.train_step()
    bench.saver()
    assert bench.saver._in_flight is not None
    bench.saver._in_flight.exception(timeout=30)
    bench.trainer.train_step()
    with pytest.raises(DiskFullError, match="step-00000002: no space left on device") as caught:
        getattr(bench.saver, when)()
    assert caught.value.hint == "free some space; step 1 is saved, and the same line goes on"
    assert [path.name for path in (bench.out / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_copy_of_a_checkpoint_does_not_count_and_stays(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(keep=1, keep_every=2, on_spike="rewind")
    names = ("step-00000001.good", "step-best")
    for step in range(1, 5):
        bench.trainer.train_step()
        bench.saver()
        if step == 1:
            for name in names:
                shutil.copytree(bench.out / "checkpoints" / "step-00000001", bench.out / "checkpoints" / name)
    assert _names(bench) == ["step-00000002", "step-00000004"]
    assert all((bench.out / "checkpoints" / name / "COMPLETE").exists() for name in names)
    assert bench.saver.anchor is not None and step_of(bench.saver.anchor) == 4


def _bad(verdict: Verdict, left_out: int = 0) -> BadUpdateError:
    return BadUpdateError(verdict, "bad", hint="", left_out=left_out)


@pytest.mark.parametrize(("verdict", "kept"), [("spike", [3]), ("nonfinite", [2, 3])])
def test_the_step_before_a_bad_update_is_saved_and_older_ones_stay_where_weights_may_be_bad(
    make_bench: Callable[..., Bench], verdict: Verdict, kept: list[int]
) -> None:
    bench = make_bench(keep=1)
    for step in (1, 2, 3):
        bench.trainer.train_step()
        if step == 2:
            bench.saver()
    bench.saver.rescue(_bad(verdict))
    assert [step_of(folder) for folder in list_checkpoints(bench.out)[0]] == kept
    bench.saver.rescue(_bad(verdict))  # saved already
    bench.trainer.train_step()
    bench.saver()
    assert _names(bench) == ["step-00000004"]  # all is well again


def test_while_updates_are_left_out_no_checkpoint_from_before_makes_way_and_one_more_is_kept(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(keep=1)
    for left_out in (0, 1, 2):
        bench.trainer.train_step()
        bench.trainer.left_out = left_out
        bench.saver()
    assert _names(bench) == ["step-00000001", "step-00000003"]


@pytest.mark.parametrize("left_out", [3, 2])
def test_a_run_that_learnt_nothing_any_more_goes_on_from_before_that(
    make_bench: Callable[..., Bench], left_out: int
) -> None:
    bench = make_bench(keep=2)
    for _ in range(4):
        bench.trainer.train_step()
        bench.trainer.left_out = max(0, bench.trainer.step - 4 + left_out)
        bench.saver()
    bench.saver.rescue(_bad("nonfinite", left_out))
    last = 4 - left_out
    assert _names(bench)[-1] == f"step-{last:08d}"
    newest = bench.out / "checkpoints" / f"step-{last:08d}"
    assert (bench.out / "model.safetensors").samefile(newest / "model.safetensors")
    assert [record["step"] for record in bench.writer.records] == [1, 2, 3, 4]


def test_a_run_that_never_learnt_keeps_what_it_has(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.trainer.train_step()
    bench.trainer.left_out = 1
    bench.saver()
    bench.saver.rescue(_bad("nonfinite", 1))
    assert _names(bench) == ["step-00000001"]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_into_a_folder_that_was_removed_or_is_anothers(
    make_bench: Callable[..., Bench], is_async: bool, replaced: bool
) -> None:
    bench = make_bench(async_checkpoint=is_async)
    with locked(bench.out) as claim:
        bench.saver._claim = claim
        bench.trainer.train_step()
        bench.saver()
        bench.saver.wait()
        shutil.rmtree(bench.out)
        if replaced:
            bench.out.mkdir()
            (bench.out / LOCK).touch()
        before = sorted(bench.out.parent.rglob("*"))
        bench.trainer.train_step()
        for write in (bench.saver, bench.saver.publish, lambda: bench.saver.go_back(1)):
            with pytest.raises(FolderLostError, match="run: the run's folder was removed or replaced"):
                write()
        assert sorted(bench.out.parent.rglob("*")) == before


@pytest.mark.parametrize("is_async", [False, True])
def test_a_folder_that_goes_while_a_checkpoint_is_written_is_told_as_that(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    bench, write = make_bench(async_checkpoint=is_async), run_saver.write_snapshot

    def late(*words: Any) -> None:
        shutil.rmtree(bench.out)
        write(*words)

    monkeypatch.setattr(run_saver, "write_snapshot", late)
    with locked(bench.out) as claim:
        bench.saver._claim = claim
        bench.trainer.train_step()
        with pytest.raises(FolderLostError, match="was removed or replaced"):
            bench.saver()
            bench.saver.wait()
        assert not bench.out.exists()


def test_a_bad_update_before_the_first_checkpoint_leaves_the_run_that_was_to_be_replaced(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    (bench.out / REPLACED).mkdir()
    bench.trainer.train_step()
    for verdict in ("spike", "nonfinite"):
        bench.saver.rescue(_bad(verdict))
    assert [path.name for path in bench.out.iterdir()] == [REPLACED]
