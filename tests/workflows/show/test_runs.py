"""Runs beside each other: what differs, which is best, and what is no run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.formats.checkpoint import CheckpointState, write_checkpoint, write_state
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.workflows.show.runs import are_runs, compare_runs, read_runs, setting_words

Write = Callable[..., Path]


def make_run(
    folder: Path, write_metrics: Write, recipe: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """A run folder with metrics, settings and, with a recipe, a checkpoint."""
    folder.mkdir(parents=True)
    write_metrics(folder / "metrics.jsonl", steps=settings.pop("steps", 20))
    write_provenance(folder, Invocation("pretrain", settings=settings))
    if recipe is None:
        (folder / "checkpoints").mkdir()
        return folder
    state = CheckpointState(recipe=recipe, trainer={"step": 20}, threads=1, versions={})
    write_checkpoint(folder, 20, lambda into: write_state(into, state))
    return folder


def test_only_settings_that_differ_are_told_and_the_lowest_validation_loss_is_best(
    tmp_path: Path, write_metrics: Write
) -> None:
    short = make_run(tmp_path / "short", write_metrics, lr=0.01, seed=1, out="short")
    long = make_run(tmp_path / "long", write_metrics, steps=40, lr=0.02, seed=1, out="long")
    report = compare_runs(read_runs([short, long]))
    assert report.differing == ["lr"]
    assert [one.settings for one in report.runs] == [{"lr": 0.01}, {"lr": 0.02}]
    assert (report.judged_by, report.best) == ("valid_loss", str(long))
    first, second = report.runs
    assert (first.steps, first.tokens, first.stopped) == (20, 1280, "done")
    assert second.last_loss == pytest.approx(2 + 3 / 40)
    assert second.lowest_valid_loss == pytest.approx(2.1 + 3 / 40)
    assert [one.value for one in first.curves["tokens_per_second"]][:2] == [641.0, 642.0]


def test_recipes_of_checkpoints_tell_what_was_worked_out_keys_of_the_model_too(
    tmp_path: Path, write_metrics: Write
) -> None:
    wide, narrow = (
        make_run(
            tmp_path / name,
            write_metrics,
            {"lr": 0.1, "steps": 20, "model": {"hidden_size": width, "vocab_size": 8}},
            lr=None,
        )
        for name, width in (("wide", 64), ("narrow", 32))
    )
    assert compare_runs(read_runs([wide, narrow])).differing == ["hidden_size"]
    asked = make_run(tmp_path / "asked", write_metrics, lr=0.2)  # no checkpoint: what was asked for
    assert compare_runs(read_runs([wide, asked])).differing == ["lr"]


def test_of_settings_that_are_objects_only_the_keys_that_differ_are_told(
    tmp_path: Path, write_metrics: Write
) -> None:
    recipes: dict[str, dict[str, Any]] = {
        "full": {"parameters": {"kind": "full"}, "settings": {}, "rope_scaling": None},
        "lora": {"parameters": {"kind": "lora", "rank": 8}, "settings": {}, "rope_scaling": None},
        "long": {"parameters": {"kind": "full"}, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    }
    runs = [make_run(tmp_path / name, write_metrics, one) for name, one in recipes.items()]
    full, lora, long = compare_runs(read_runs(runs)).runs
    names = ["parameters.kind", "parameters.rank", "rope_scaling.rope_type", "rope_scaling.factor"]
    assert full.settings == dict.fromkeys(names) | {"parameters.kind": "full"}
    assert lora.settings == dict.fromkeys(names) | {"parameters.kind": "lora", "parameters.rank": 8}
    assert list(long.settings.values()) == ["full", None, "yarn", 4.0]


def test_a_run_without_validation_has_them_judged_by_the_training_loss(
    tmp_path: Path, write_metrics: Write
) -> None:
    first = write_metrics(tmp_path / "a.jsonl", steps=9)  # before the first evaluation
    second = write_metrics(tmp_path / "b.jsonl", steps=30)
    report = compare_runs(read_runs([first, second]))
    assert (report.judged_by, report.best, report.differing) == ("loss", str(second), [])
    assert report.runs[0].last_valid_loss is None


def test_what_is_no_run_is_refused_by_name(tmp_path: Path, write_metrics: Write) -> None:
    run = make_run(tmp_path / "run", write_metrics)
    (tmp_path / "docs.jsonl").write_text('{"text": "a"}\n')
    assert are_runs([run]) and not are_runs([run, tmp_path / "docs.jsonl"])
    with pytest.raises(UsageError, match=r"docs.jsonl: not a training run \(found: records\)"):
        read_runs([run, tmp_path / "docs.jsonl"])
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UsageError, match="run: a run without metrics"):
        read_runs([run])


def test_a_list_among_settings_tells_what_repeats_once() -> None:
    kinds = ["sliding_attention"] * 3 + ["full_attention"] + ["sliding_attention"]
    assert setting_words(kinds) == "3 × sliding_attention, full_attention, sliding_attention"
    assert (setting_words((0, 1)), setting_words("ab"), setting_words(4)) == ("0, 1", "ab", "4")


def test_a_digest_among_settings_is_told_by_its_beginning() -> None:
    assert setting_words("0123456789abcdef" * 4) == "0123456789ab"
    assert setting_words("0123456789abcdef" * 3) == "0123456789abcdef" * 3
