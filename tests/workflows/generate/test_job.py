"""A request opened and checked before any weight is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.errors import ConfigError, DataError, LlmkitError, MissingError, UsageError
from llmkit.formats.model_folder import CONFIG, WEIGHTS
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.model.pooling import Pooling, write_pooling
from llmkit.workflows.generate import job as job_module
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job

Tiny = Callable[..., Path]


@pytest.fixture
def folder(tiny_model: Tiny, byte_level_dir: Path) -> Path:
    """A model with a tokenizer."""
    folder = tiny_model(vocab_size=600, eos_token_id=5)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _open(folder: Path, sampling: dict[str, Any] | None = None, **settings: Any) -> Job:
    names = {"prompt", "file", "jsonl", "out", "force", "skip_bad", "rejects", "tokenizer"}
    files = {key: value for key, value in settings.items() if key in names}
    config = {key: value for key, value in settings.items() if key not in names}
    if not files.keys() & {"prompt", "file", "jsonl"}:
        files["prompt"] = "a"
    return open_job(GenerateFiles(model=folder, **files), GenerateConfig(sampling=sampling or {}, **config))


def _generation_config(folder: Path, **content: Any) -> None:
    (folder / "generation_config.json").write_text(json.dumps(content))


def test_flags_win_over_generation_config_which_wins_over_our_defaults(folder: Path) -> None:
    _generation_config(folder, temperature=0.5, top_k=7, do_sample=True, max_new_tokens=5)
    sampling = _open(folder, {"top_k": 9, "seed": 3}).sampling
    assert (sampling.temperature, sampling.top_k, sampling.seed) == (0.5, 9, 3)
    assert sampling.max_tokens == 5 and sampling.min_p == SamplingConfig.min_p
    assert _open(folder, {"max_tokens": 7}).sampling.max_tokens == 7


def test_every_source_says_what_ends_a_text(folder: Path) -> None:
    _generation_config(folder, eos_token_id=[7, 8, 9999])
    end = _open(folder).tokenizer.id_of("<|endoftext|>")  # type: ignore[union-attr]
    assert _open(folder).stop_ids == {5, 7, 8, end}


def test_what_generation_config_asks_for_in_vain_is_noted(folder: Path) -> None:
    _generation_config(folder, num_beams=4, max_length=20)
    where = f"{folder}/generation_config.json"
    assert _open(folder).notes == (
        f"{where}: num_beams is not followed",
        f"{where}: max_length is not followed",
    )


@pytest.mark.parametrize("content", [{"top_k": "x"}, {"temperature": -1.0}])
def test_an_impossible_generation_config_is_named(folder: Path, content: dict[str, Any]) -> None:
    _generation_config(folder, **content)
    with pytest.raises(ConfigError, match=f"generation_config.json: {next(iter(content))}"):
        _open(folder)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"jsonl": Path("-"), "as_json": True}, "--json"),
        ({"jsonl": Path("-"), "echo": True}, "--echo"),
        ({"as_json": True, "echo": True}, "--echo"),
        ({"system": "x"}, "--system"),
        ({"skip_bad": True}, "--skip-bad"),
        ({"rejects": Path("r")}, "--rejects"),
        ({"unordered": True}, "--unordered"),
        ({"sampling": {"logprobs": 2}}, "--logprobs"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    folder: Path, settings: dict[str, Any], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"{flag} does nothing"):
        _open(folder, **settings)


def test_the_options_that_belong_together_are_taken(folder: Path) -> None:
    _open(folder, chat=True, system="x")
    _open(folder, jsonl=Path("-"), system="x", skip_bad=True, sampling={"logprobs": 1})
    _open(folder, as_json=True, sampling={"logprobs": 1})


def test_a_cpu_without_our_kernels_is_said_to_be_slow_unless_torch_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _open(folder).notes
    monkeypatch.setattr(job_module, "unbuilt", lambda: "not built: no C++ compiler")
    (note,) = _open(folder).notes
    assert note.endswith("the native library is not built: no C++ compiler")
    assert not _open(folder, kernels="torch").notes


def test_a_job_knows_how_vectors_are_made_of_its_model(folder: Path) -> None:
    assert not _open(folder).pooling.is_told
    write_pooling(folder, Pooling("last"), 16)
    assert _open(folder).pooling == Pooling("last")


def test_a_model_without_a_head_is_told_of_and_has_one_matrix_less(folder: Path) -> None:
    weights = {name: one for name, one in load_file(folder / WEIGHTS).items() if name != "lm_head.weight"}
    config = json.loads((folder / CONFIG).read_text()) | {"tie_word_embeddings": False}
    (folder / CONFIG).write_text(json.dumps(config))
    write_pooling(folder, Pooling("last"), 16)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    job = _open(folder)
    assert job.model.tie_word_embeddings and any("has no head" in note for note in job.notes)
    (folder / CONFIG).write_text(json.dumps(config | {"tie_word_embeddings": True}))
    assert not _open(folder).notes


def test_an_output_is_refused_where_it_is_or_is_read(folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("")
    with pytest.raises(UsageError, match="already exists"):
        _open(folder, out=rows)
    with pytest.raises(UsageError, match="is also an input"):
        _open(folder, jsonl=rows, out=rows, force=True)
    with pytest.raises(UsageError, match="is also an input"):
        _open(folder, jsonl=rows, rejects=rows, force=True)
    _open(folder, out=rows, force=True)


@pytest.mark.parametrize("is_draft", [False, True])
def test_an_output_never_takes_the_place_of_an_adapters_or_a_draft_models_weights(
    folder: Path, tmp_path: Path, is_draft: bool
) -> None:
    weights = tmp_path / "other" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"")
    used: Any = {"draft": str(weights.parent)} if is_draft else {"adapters": (f"x={weights.parent}:0.5",)}
    with pytest.raises(UsageError, match="is there already, in the input"):
        _open(folder, out=weights, force=True, **used)


def _bare(folder: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    ("spoil", "kind", "what"),
    [
        (shutil.rmtree, MissingError, "no such model folder"),
        (lambda folder: (folder / "config.json").unlink(), MissingError, "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), MissingError, "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), DataError, "safetensors"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), DataError, "tokenizer.json"),
        (_bare, MissingError, "no tokenizer"),
    ],
    ids=["folder", "config", "weights", "damaged weights", "damaged tokenizer", "tokenizer"],
)
def test_a_model_that_is_not_whole_is_named(
    folder: Path, spoil: Callable[[Path], Any], kind: type[LlmkitError], what: str
) -> None:
    spoil(folder)
    with pytest.raises(kind, match=what):
        _open(folder)


def test_a_missing_file_of_prompts_is_named(folder: Path) -> None:
    for settings in ({"file": Path("nowhere")}, {"jsonl": Path("nowhere")}):
        with pytest.raises(MissingError, match="nowhere: no such file"):
            _open(folder, **settings)


def test_rows_may_do_without_a_tokenizer_but_a_pattern_may_not(folder: Path) -> None:
    _bare(folder)
    assert _open(folder, jsonl=Path("-")).tokenizer is None
    with pytest.raises(MissingError, match="no tokenizer") as caught:
        _open(folder, jsonl=Path("-"), require="x")
    assert "-t TOKENIZER" in caught.value.hint


def test_a_tokenizer_that_the_model_was_not_trained_with_is_refused(
    folder: Path, byte_level_dir: Path, shared_data: Path
) -> None:
    assert _open(folder, tokenizer=byte_level_dir).tokenizer is not None
    digest = _open(folder).tokenizer.sha256  # type: ignore[union-attr]
    write_provenance(folder, Invocation("pretrain"), tokenizer_sha256=digest)
    assert _open(folder, tokenizer=byte_level_dir).tokenizer is not None
    with pytest.raises(DataError, match=r"not the tokenizer that .* was trained with"):
        _open(folder, tokenizer=shared_data / "models" / "stories260K")


def test_a_scaling_asked_for_is_in_the_model_and_lengthens_its_context(folder: Path) -> None:
    assert _open(folder).rope_scaling is None
    job = _open(folder, rope_scaling="yarn:4")
    assert job.rope_scaling == job.model.rope_scaling
    assert (job.model.rope_scaling or {})["original_max_position_embeddings"] == 32
    assert job.model.max_position_embeddings == 128
    assert _open(folder, rope_scaling="none").model == _open(folder).model


def test_a_scaling_that_the_model_cannot_have_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="--rope-scaling yarn: no factor"):
        _open(folder, rope_scaling="yarn")
    lists = '{"rope_type": "longrope", "short_factor": [1, 1, 1], "long_factor": [1, 1, 1]}'
    with pytest.raises(ConfigError, match=r"config.json: short_factor has 3 numbers"):
        _open(folder, rope_scaling=lists)
