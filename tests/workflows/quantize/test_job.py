from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_copies import split_gguf
from gguf_models import case_config, random_model

from llmkit.errors import DataError, MissingError, ResourceError, UsageError
from llmkit.formats.gguf.write import write_gguf
from llmkit.formats.provenance import Invocation
from llmkit.model.gguf.save import gguf_model
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig

INVOCATION = Invocation("quantize", {}, ())


@pytest.fixture
def place(tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path) -> Path:
    """A model whose context is short, with a tokenizer, and a text beside it."""
    folder = tiny_model(vocab_size=600, hidden_size=32, intermediate_size=64, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "text.txt").write_text("The quick brown fox. " * 400)
    return folder


def opened(place: Path, out: Path | None = None, **settings: Any) -> QuantizeJob:
    config = QuantizeConfig(**({"container": "gguf", "type": "Q8_0"} | settings))
    return open_quantize(place, out, config, force=False, invocation=INVOCATION)


def test_without_text_there_is_nothing_to_weigh_or_score_and_a_note_says_so(place: Path) -> None:
    job = opened(place)
    assert job.calibration is job.scored is None
    assert "no --calibration text" in job.notes[0]


def test_rows_are_as_long_as_the_context_at_most(place: Path, tmp_path: Path) -> None:
    job = opened(place, calibration=(tmp_path / "text.txt",), calibration_tokens=640, score_tokens=128)
    assert job.calibration is not None and job.scored is not None
    assert (job.calibration.shape, job.scored.shape) == ((10, 64), (2, 64))
    assert job.notes == ("rows of 64 tokens: the model's context",)


def test_score_text_alone_is_scored_and_nothing_is_weighed(place: Path, tmp_path: Path) -> None:
    job = opened(place, score=(tmp_path / "text.txt",), score_tokens=128)
    assert job.calibration is None and job.scored is not None


def test_threads_are_as_many_as_the_environment_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmkit.workflows.quantize.job.available", lambda: False)
    monkeypatch.setattr("llmkit.workflows.quantize.job.Workers", int)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert opened(place).workers() == 3
    assert opened(place, threads=2).workers() == 2


def test_less_text_than_asked_for_is_told(place: Path, tmp_path: Path) -> None:
    job = opened(place, score=(tmp_path / "text.txt",), score_tokens=10**6)
    assert "tokens where 1,000,000 were asked for" in job.notes[-1]


def test_an_output_that_is_there_or_is_read_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "q.gguf").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        opened(place, tmp_path / "q.gguf")
    config = QuantizeConfig(container="gguf", type="Q8_0", calibration=(tmp_path / "text.txt",))
    with pytest.raises(UsageError):
        open_quantize(place, tmp_path / "text.txt", config, force=True, invocation=INVOCATION)


def test_no_part_of_a_gguf_model_is_written_over(tmp_path: Path) -> None:
    made = gguf_model(random_model(case_config("qwen3", {})), "float32")
    with (tmp_path / "m.gguf").open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    parts = split_gguf(tmp_path / "m.gguf", tmp_path / "parts", 20)
    config = QuantizeConfig(container="gguf", type="Q8_0")
    assert open_quantize(parts[0], None, config, force=True, invocation=INVOCATION).source.files == parts
    with pytest.raises(UsageError, match="also an input"):
        open_quantize(parts[0], parts[1], config, force=True, invocation=INVOCATION)


def test_a_model_without_a_tokenizer_needs_one_for_text(place: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).unlink()
    with pytest.raises(MissingError, match="no tokenizer"):
        opened(place, calibration=(tmp_path / "text.txt",))


def test_a_full_disk_is_found_before_the_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.machine.free_bytes", lambda path: 10)
    with pytest.raises(ResourceError, match="found 10 free"):
        opened(place, tmp_path / "q.gguf")


def test_zero_points_in_compressed_tensors_and_matrices_that_are_not_scaled_are_told(
    place: Path, tmp_path: Path
) -> None:
    kind: dict[str, Any] = {"container": "compressed-tensors", "type": "int4-g32-asym"}
    assert any("dequantize=True" in note for note in opened(place, **kind).notes)
    assert not any("dequantize" in note for note in opened(place, **(kind | {"type": "int4-g32"})).notes)
    job = opened(place, scale=True, calibration=(tmp_path / "text.txt",))
    assert job.notes[-1].endswith("takes the inverse: embed_tokens")
    assert job.scale_dtype == torch.float32


def test_a_text_without_a_whole_row_is_refused(place: Path, tmp_path: Path) -> None:
    for content in ("", "few words"):
        (tmp_path / "short.txt").write_text(content)
        with pytest.raises(DataError, match="too few"):
            opened(place, calibration=(tmp_path / "short.txt",))
