"""The folder of a run: only a run's is touched, an old one comes back."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Backend

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.checkpoint import (
    OPTIMIZER,
    CheckpointState,
    list_checkpoints,
    prune,
    retract,
    write_checkpoint,
    write_state,
)
from llmkit.formats.metrics import METRICS
from llmkit.formats.provenance import Invocation
from llmkit.model.config import ModelConfig
from llmkit.progress import SILENT
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.config import PretrainConfig, Recipe
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.job import Job, PretrainFiles
from llmkit.workflows.pretrain.model import ModelSource
from llmkit.workflows.run.folder import (
    Start,
    carry,
    check_folder,
    check_metrics_file,
    check_records,
    check_resume,
    find_start,
    metrics_paths,
    prepare_folder,
    restore_aside,
    set_aside,
)
from llmkit.workflows.run.setup import set_up

MODEL = ModelConfig(
    vocab_size=48, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2
)


@pytest.fixture
def make_job(make_data: Callable[..., PretrainData], tmp_path: Path) -> Callable[..., Job]:
    """A job for `tmp_path/run`, with nothing behind its data."""

    def make(*, tokenizer: Tokenizer | None = None, valid: PretrainData | None = None, **files: Any) -> Job:
        data, config = make_data(tokenizer_sha256="t" * 64), PretrainConfig(device="cpu", steps=4)
        return Job(
            PretrainFiles(data=(Path("shards"),), out=tmp_path / "run", **files),
            config,
            tokenizer,
            data,
            valid,
            ModelSource(MODEL, None, None),
            set_up(config, MODEL, data, None),
        )

    return make


@pytest.fixture
def recipe(make_job: Callable[..., Job]) -> Recipe:
    return make_job().setup.recipe


def _checkpoint(out: Path, step: int, recipe: Recipe) -> Path:
    """A checkpoint whose files say which step they are of."""

    def fill(folder: Path) -> None:
        for name in ("config.json", "generation_config.json", "model.safetensors", OPTIMIZER):
            (folder / name).write_text(f"{name} of {step}")
        state = CheckpointState(recipe=asdict(recipe), trainer={"step": step}, threads=1, versions={})
        write_state(folder, state)

    out.mkdir(exist_ok=True)
    return write_checkpoint(out, step, fill)


def _tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    "names", [[], ["cache"], ["metrics.jsonl"], ["checkpoints", "config.json"], [".lock", ".replaced"]]
)
def test_a_folder_of_a_run_or_with_nothing_in_it_may_be_written(tmp_path: Path, names: list[str]) -> None:
    check_folder(tmp_path / "absent", [tmp_path])
    for name in names:
        (tmp_path / name).mkdir()
    check_folder(tmp_path, [])


def test_other_folders_files_and_inputs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match=r"exists and is not a run \(found a, b\)"):
        check_folder(tmp_path, [])
    with pytest.raises(UsageError, match=r"a: exists and is not a run \(found a\)"):
        check_folder(tmp_path / "a", [])
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="the output is also an input"):
        check_folder(tmp_path, [Path("-"), tmp_path / "link"])
    with pytest.raises(UsageError, match="stdout has the report"):
        check_folder(Path("-"), [])


def test_a_run_goes_on_from_its_newest_whole_checkpoint(tmp_path: Path, recipe: Recipe) -> None:
    notes: list[str] = []

    class Listener:
        def note(self, message: str) -> None:
            notes.append(message)

    def start(resume: Any, force: bool = False) -> Start:
        return find_start(tmp_path, recipe, resume=resume, force=force, progress=Listener())  # type: ignore[arg-type]

    assert (start("auto"), start("never"), start("auto").step) == (Start(), Start(), 0)
    with pytest.raises(MissingError, match="no checkpoint to resume from"):
        start("must")
    _checkpoint(tmp_path, 2, recipe)
    newest = _checkpoint(tmp_path, 10, recipe)
    assert (start("auto").checkpoint, start("must").step, notes) == (newest, 10, [])
    (newest / "COMPLETE").unlink()
    assert start("auto").step == 2
    assert len(notes) == 1 and notes[0].startswith(f"passed over {newest}: ")
    with pytest.raises(UsageError, match=r"has a run already \(checkpoint step-00000002\)") as caught:
        start("never")
    assert "--force" in caught.value.hint
    assert start("never", force=True) == Start()


def test_a_checkpoint_damaged_inside_is_passed_over_told_and_counts_no_more(
    make_job: Callable[..., Job], recipe: Recipe, tmp_path: Path
) -> None:
    out, notes = tmp_path / "run", []
    older, newer = _checkpoint(out, 2, recipe), _checkpoint(out, 10, recipe)
    (newer / "model.safetensors").write_text("model.safetensors of 11")

    class Listener:
        def note(self, message: str) -> None:
            notes.append(message)

    start = find_start(out, recipe, resume="auto", force=False, progress=Listener())  # type: ignore[arg-type]
    what = "model.safetensors is damaged (its SHA-256 is another)"
    assert (start.checkpoint, start.step, start.damaged) == (older, 2, ((newer, what),))
    assert notes == [f"passed over {newer}: {what}"]
    assert [path.name for path in list_checkpoints(out)[0]] == [older.name, newer.name]  # nothing touched yet
    (out / "checkpoints" / ".step-00000012.tmp-1").mkdir()
    prepare_folder(make_job(), start, Invocation("pretrain"))
    assert list_checkpoints(out)[0] == [older]
    assert not list((out / "checkpoints").glob(".*"))
    prune(out, keep=1)
    assert list_checkpoints(out)[0] == [older]  # keeping one keeps a good one


@pytest.mark.parametrize("bytes_left", [None, 1])
def test_a_run_whose_every_checkpoint_is_damaged_is_not_started_over_in_silence(
    tmp_path: Path, recipe: Recipe, bytes_left: int | None
) -> None:
    for step in (10, 2):
        state = _checkpoint(tmp_path, step, recipe) / "state.json"
        state.write_text("?" * (bytes_left or state.stat().st_size))
    with pytest.raises(
        DataError, match=r"every checkpoint is damaged \(step-00000002: state\.json"
    ) as caught:
        find_start(tmp_path, recipe, resume="auto", force=False, progress=SILENT)
    assert "--resume never --force" in caught.value.hint
    assert find_start(tmp_path, recipe, resume="never", force=True, progress=SILENT) == Start()


@pytest.mark.parametrize("resume", ["auto", "must"])
def test_a_run_whose_every_checkpoint_lacks_its_marker_is_not_started_over_in_silence(
    tmp_path: Path, recipe: Recipe, resume: Any
) -> None:
    for step in (10, 2):
        (_checkpoint(tmp_path, step, recipe) / "COMPLETE").unlink()
    with pytest.raises(
        DataError, match=r"every checkpoint is damaged \(step-00000002: no COMPLETE"
    ) as caught:
        check_resume(tmp_path, resume=resume, force=False)
    assert "--resume never --force" in caught.value.hint
    check_resume(tmp_path, resume="never", force=False)


def test_a_run_that_went_back_before_all_its_checkpoints_begins_anew(tmp_path: Path, recipe: Recipe) -> None:
    """A spike before the first that was due: what a stop left is undone, and then the machine is lost."""
    retract(_checkpoint(tmp_path, 7, recipe))
    assert find_start(tmp_path, recipe, resume="auto", force=False, progress=SILENT) == Start()


def test_a_run_of_other_settings_is_not_gone_on_with_and_four_of_them_are_named(
    tmp_path: Path, recipe: Recipe
) -> None:
    _checkpoint(tmp_path, 2, recipe)
    changed = {"lr": 0.5, "clip": 9.0, "seed": 3, "beta1": 0.1, "beta2": 0.2, "data_sha256": "x" * 64}
    other = replace(recipe, **changed)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        find_start(tmp_path, other, resume="auto", force=True, progress=SILENT)
    problem = caught.value.problem
    assert "data_sha256 d there, xxxxxxxxxxxx… here" in problem
    assert f"lr {recipe.lr} there, 0.5 here" in problem
    assert problem.endswith("; and 2 more)")


def test_a_run_set_aside_comes_back_when_the_new_one_came_to_nothing(tmp_path: Path, recipe: Recipe) -> None:
    _checkpoint(tmp_path, 2, recipe)
    (tmp_path / "metrics.jsonl").write_text("old")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rows").write_text("kept")
    before = _tree(tmp_path)
    set_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".replaced", "cache"]
    (tmp_path / "metrics.jsonl").write_text("new")
    (tmp_path / "checkpoints" / ".step-00000001.tmp-9").mkdir(parents=True)
    set_aside(tmp_path)  # again, after a kill: the old run is still the one that is kept
    assert json.dumps(_tree(tmp_path / ".replaced")) == json.dumps(
        {name: text for name, text in before.items() if not name.startswith("cache/")}
    )
    restore_aside(tmp_path)
    assert _tree(tmp_path) == before
    assert not (tmp_path / ".replaced").exists()


def test_a_run_set_aside_goes_once_the_new_one_has_a_checkpoint(tmp_path: Path, recipe: Recipe) -> None:
    _checkpoint(tmp_path, 7, recipe)
    set_aside(tmp_path)
    _checkpoint(tmp_path, 1, recipe)
    restore_aside(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert not (tmp_path / ".replaced").exists()
    set_aside(tmp_path / "absent")
    restore_aside(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_new_run_finds_an_empty_place_with_what_made_it(
    make_job: Callable[..., Job],
    make_data: Callable[..., PretrainData],
    byte_tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    out, more = tmp_path / "run", tmp_path / "more.jsonl"
    out.mkdir()
    (out / "old").write_text("x")
    more.write_text("old")
    valid = make_data(inputs={"shards": "v", "held-out": "h"})
    job = make_job(tokenizer=byte_tokenizer, valid=valid, metrics=more)
    assert prepare_folder(job, Start(), Invocation("pretrain", settings={"seed": 3})) == []
    assert (out / ".replaced" / "old").exists() and not more.exists()
    assert (out / "metrics.jsonl").read_text() == ""
    assert ModelConfig.from_hf(json.loads((out / "config.json").read_text())) == MODEL
    assert Backend.from_file(str(out / "tokenizer.json")).get_vocab_size() == 259
    made = json.loads((out / "llmkit.json").read_text())
    assert made["inputs"] == {"shards": "d", "shards (validation)": "v", "held-out": "h"}
    assert (made["tokenizer_sha256"], made["seed"]) == ("t" * 64, 3)
    assert set(made["versions"]) == {"torch", "numpy", "tokenizers", "safetensors"}


def test_a_resumed_run_has_its_checkpoints_model_and_the_records_up_to_it(
    make_job: Callable[..., Job], recipe: Recipe, tmp_path: Path
) -> None:
    out, more = tmp_path / "run", tmp_path / "more.jsonl"
    folder = _checkpoint(out, 2, recipe)
    lines = [{"event": "start", "step": 0}, *({"step": step, "loss": 1.0} for step in (1, 2, 3))]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    (out / "metrics.jsonl").write_text(content)
    more.write_text(content)
    start = find_start(out, recipe, resume="auto", force=False, progress=SILENT)
    assert prepare_folder(make_job(metrics=more), start, Invocation("pretrain")) == lines[:3]
    for path in (out / "metrics.jsonl", more):
        assert [json.loads(line) for line in path.read_text().splitlines()] == lines[:3]
    assert (out / "model.safetensors").samefile(folder / "model.safetensors")
    assert (out / "config.json").read_text() == "config.json of 2"


def test_metrics_go_to_the_run_and_to_one_other_place(tmp_path: Path) -> None:
    own, other, stdout = tmp_path / "metrics.jsonl", tmp_path / "m.jsonl", Path("-")
    assert metrics_paths(tmp_path, None) == [own]
    assert metrics_paths(tmp_path, tmp_path / "x" / ".." / "metrics.jsonl") == [own]
    assert metrics_paths(tmp_path, other) == [own, other]
    assert metrics_paths(tmp_path, stdout) == [own, stdout]
    own.touch()
    check_metrics_file(tmp_path, other, resumes=False, force=False)
    check_metrics_file(tmp_path, own, resumes=False, force=False)
    for content, is_metrics in (('{"step": 1}\n', True), ("notes of mine\n\n", False)):
        other.write_text(content)
        check_metrics_file(tmp_path, other, resumes=False, force=True)
        with pytest.raises(UsageError, match=r"m\.jsonl: already exists"):
            check_metrics_file(tmp_path, other, resumes=False, force=False)
        if is_metrics:
            check_metrics_file(tmp_path, other, resumes=True, force=False)
        else:
            with pytest.raises(UsageError, match=r"m\.jsonl: already exists"):
                check_metrics_file(tmp_path, other, resumes=True, force=False)


def test_metrics_of_a_run_that_was_ended_before_its_first_checkpoint_are_its_own(tmp_path: Path) -> None:
    own, other = tmp_path / METRICS, tmp_path / "m.jsonl"
    first = {"event": "start", "step": 0, "parameters": 7}
    other.write_text(json.dumps({**first, "time_seconds": 0.2}) + '\n{"step": 1}\n')
    own.write_text(json.dumps({**first, "time_seconds": 0.1}) + '\n{"step": 1}\n')
    check_metrics_file(tmp_path, other, resumes=False, force=False)
    own.write_text(json.dumps({**first, "parameters": 8}) + "\n")
    with pytest.raises(UsageError, match=r"m\.jsonl: already exists"):
        check_metrics_file(tmp_path, other, resumes=False, force=False)


def test_metrics_replace_no_file_that_the_run_reads_even_when_forced(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "index.json").write_text("{}")
    with pytest.raises(UsageError, match=r"index\.json: is there already, in the input"):
        check_records(tmp_path / "run", shards / "index.json", None, [shards], force=True)
    check_records(tmp_path / "run", shards / "m.jsonl", None, [shards], force=True)
    (shards / "m.jsonl").write_text('{"event": "start", "step": 0}\n{"step": 1, "loss": 2.5}\n')
    check_records(tmp_path / "run", shards / "m.jsonl", None, [shards], force=False)
    check_metrics_file(tmp_path / "run", shards / "m.jsonl", resumes=True, force=False)


def test_a_place_where_no_metrics_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder") as caught:
        check_records(tmp_path / "run", tmp_path / "absent" / "m.jsonl", None, [], force=True)
    assert caught.value.hint == f"mkdir -p {tmp_path / 'absent'}"
    with pytest.raises(UsageError, match="a folder") as refused:
        check_records(tmp_path / "run", tmp_path, None, [], force=True)
    assert refused.value.hint == f"--metrics {tmp_path / METRICS}"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match="file: already exists"):
        check_records(tmp_path / "run", tmp_path / "file", None, [], force=False)
    check_records(tmp_path / "run", tmp_path / "file", tmp_path / "events", [], force=True)
    for metrics, events in (
        ("file/m.jsonl", None),
        (None, tmp_path / "file"),
        (None, tmp_path / "file" / "e"),
    ):
        with pytest.raises(UsageError, match="is no folder"):
            check_records(tmp_path / "run", metrics and tmp_path / metrics, events, [], force=True)
    with pytest.raises(UsageError, match="is no folder"):
        check_folder(tmp_path / "file" / "run", [])


def test_a_checkpoint_is_given_what_the_run_has_beside_the_weights(
    tmp_path: Path, byte_tokenizer: Tokenizer
) -> None:
    out, folder = tmp_path / "run", tmp_path / "checkpoint"
    folder.mkdir()
    byte_tokenizer.save(out)
    (out / "additional_chat_templates").mkdir()
    (out / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    (out / "llmkit.json").write_text("{}")
    (out / "metrics.jsonl").write_text("stays")
    carry(out, folder)
    assert _tree(folder) == {name: text for name, text in _tree(out).items() if name != "metrics.jsonl"}
    assert len(_tree(folder)) == 5
