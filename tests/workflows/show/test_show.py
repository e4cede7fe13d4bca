"""Any path finds its report, and only what has tensors or a vocabulary can list them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.workflows.show.show import pieces_of, show_artefact, tensors_of


def test_each_kind_has_its_report(
    tiny_model: Callable[..., Path],
    tiny_adapter: Callable[..., Path],
    write_metrics: Callable[..., Path],
    shared_data: Path,
    tmp_path: Path,
) -> None:
    run = tiny_model("run")
    write_metrics(run / "metrics.jsonl")
    (tmp_path / "docs.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "prose.txt").write_text("a\n")
    for path, kind in {
        run: "run",
        run / "metrics.jsonl": "metrics",
        tiny_model("model"): "model",
        run / "config.json": "config",
        run / "model.safetensors": "safetensors",
        tiny_adapter(): "adapter",
        shared_data / "tokenizers" / "llama2": "tokenizer",
        tmp_path / "docs.jsonl": "documents",
        tmp_path / "prose.txt": "text",
    }.items():
        report = show_artefact(path)
        assert (report.schema, report.kind) == ("llmkit.show/1", kind)


def test_a_run_has_its_model_and_its_curve(
    tiny_model: Callable[..., Path], write_metrics: Callable[..., Path]
) -> None:
    from llmkit.workflows.show.run import show_run

    run = tiny_model("run")
    write_metrics(run / "metrics.jsonl", steps=20)
    report = show_run(run)
    assert report.model is not None and report.model.kind == "model"
    assert report.metrics is not None and (report.metrics.steps, len(report.metrics.valid)) == (20, 2)


def test_tensors_and_pieces_are_of_what_has_them(
    tiny_adapter: Callable[..., Path], shared_data: Path
) -> None:
    adapter, tokenizer = tiny_adapter(), shared_data / "tokenizers" / "llama2"
    assert len(list(tensors_of(adapter))) == 8
    assert len(list(pieces_of(tokenizer))) == 32000
    with pytest.raises(UsageError, match=r"no tensors \(found: tokenizer\)"):
        tensors_of(tokenizer)
    with pytest.raises(UsageError, match=r"no vocabulary \(found: adapter\)"):
        pieces_of(adapter)


def test_a_malformed_line_is_told_without_a_flag_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"text": "a"}\nbad\n')
    with pytest.raises(DataError, match=r"docs\.jsonl:2: not a JSON object") as caught:
        show_artefact(tmp_path / "docs.jsonl")
    assert "--skip-bad" not in caught.value.hint


def test_a_file_of_blank_lines_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="no records"):
        show_artefact(tmp_path / "docs.jsonl")
