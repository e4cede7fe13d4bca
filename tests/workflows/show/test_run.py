"""A run folder read back: what it holds counted from the disk, also while it goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.formats.checkpoint import write_checkpoint
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.workflows.show.metrics import read_metrics
from llmkit.workflows.show.run import Checkpoint, show_metrics, show_run


def _checkpoints(folder: Path, *steps: int) -> None:
    """Complete checkpoints, each with a file of as many bytes as its step has."""
    for step in steps:
        write_checkpoint(folder, step, lambda into, size=step: (into / "x").write_bytes(bytes(size)))


def test_a_run_is_its_metrics_checkpoints_model_and_how_it_was_made(
    tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]
) -> None:
    folder = tiny_model("run")
    write_metrics(folder / "metrics.jsonl", steps=7)
    _checkpoints(folder, 5, 7)
    made = Invocation(
        "pretrain", settings={"lr": 0.01, "seed": 3}, words=("--data", "shards", "--lr", "0.01")
    )
    write_provenance(folder, made)
    report = show_run(folder)
    assert (report.kind, report.path, report.incomplete) == ("run", str(folder), [])
    assert report.made_by == "llmkit pretrain --data shards --lr 0.01"
    assert report.settings == {"lr": 0.01, "seed": 3}
    assert report.metrics is not None and (report.metrics.steps, report.metrics.first_loss) == (7, 5.0)
    assert report.model is not None and report.model.shape["num_hidden_layers"] == 2
    marker = {step: (folder / f"checkpoints/step-0000000{step}/COMPLETE").stat().st_size for step in (5, 7)}
    assert report.checkpoints == [
        Checkpoint(name=f"step-0000000{step}", step=step, size_bytes=step + marker[step]) for step in (5, 7)
    ]


def test_checkpoints_come_in_the_order_of_their_steps_and_broken_ones_apart(tmp_path: Path) -> None:
    _checkpoints(tmp_path, 100, 20, 3)
    (tmp_path / "checkpoints" / "step-00000020" / "COMPLETE").unlink()
    report = show_run(tmp_path)
    assert [one.step for one in report.checkpoints] == [3, 100]
    (problem,) = report.incomplete
    assert "step-00000020: " in problem


def test_a_run_before_its_first_checkpoint_has_no_model_yet(
    tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]
) -> None:
    folder = tiny_model("run")
    (folder / "model.safetensors").unlink()  # config.json is written first
    write_metrics(folder / "metrics.jsonl", steps=3, stop=False)
    report = show_run(folder)
    assert (report.model, report.checkpoints, report.made_by, report.settings) == (None, [], None, {})
    assert report.metrics is not None and report.metrics.stop == {}


def test_a_folder_with_nothing_yet_and_a_metrics_file_alone(
    tmp_path: Path, write_metrics: Callable[..., Path]
) -> None:
    assert show_run(tmp_path).metrics is None
    path = write_metrics(steps=4)
    report = show_metrics(path, read_metrics(path))
    assert (report.kind, report.path, report.model) == ("metrics", str(path), None)
    assert report.metrics == show_run(tmp_path).metrics  # the same file, found in its folder
    assert report.metrics is not None and report.metrics.steps == 4


def test_a_damaged_part_is_named(tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]) -> None:
    folder = tiny_model("run")
    metrics = write_metrics(folder / "metrics.jsonl", steps=2)
    metrics.write_text('{"step": 1, "lo\n' + metrics.read_text())
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: "):
        show_run(folder)
    metrics.unlink()
    (folder / "model.safetensors").write_bytes(b"\x00")
    with pytest.raises(DataError, match=r"model\.safetensors: not a safetensors file"):
        show_run(folder)
