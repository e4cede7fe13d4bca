"""Models that do not belong together are refused before any weight is read, with the first difference."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.errors import DataError, MissingError
from llmkit.model.lazy_weights import LazyWeights
from llmkit.workflows.scaled_path import ScaledPath
from tests.workflows.merging import merged, write_models


@pytest.fixture(autouse=True)
def _no_weight_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LazyWeights, names: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(LazyWeights, "read", refuse)


def _two(place: Path, **changes: object) -> None:
    write_models(place, "one")
    write_models(place, "two", **changes)


def test_another_shape_is_named(tmp_path: Path) -> None:
    _two(tmp_path, vocab_size=64)
    with pytest.raises(DataError, match=r"2 tensors unlike .*embed_tokens.weight \[64, 32\] for \[48, 32\]"):
        merged(tmp_path, "out", "one", "two", method="linear")


def test_absent_and_surplus_tensors_are_named(tmp_path: Path) -> None:
    _two(tmp_path, tie_word_embeddings=True)
    with pytest.raises(DataError, match=r"1 tensor unlike .*lm_head.weight is absent"):
        merged(tmp_path, "out", "one", "two", method="linear")
    with pytest.raises(DataError, match=r"lm_head.weight is surplus"):
        merged(tmp_path, "out", "two", "one", method="linear")


def test_weights_of_one_shape_and_another_meaning_are_refused(tmp_path: Path) -> None:
    _two(tmp_path, rope_theta=5e5)
    with pytest.raises(DataError, match=r"rope_theta 500000.0 for 10000.0"):
        merged(tmp_path, "out", "one", "two", method="linear")


def test_another_dtype_and_context_are_only_told(tmp_path: Path) -> None:
    write_models(tmp_path, "one")
    write_models(tmp_path, "two", max_position_embeddings=128)
    from llmkit.model.load import load_model
    from llmkit.model.save import save_model

    save_model(load_model(tmp_path / "two").bfloat16(), tmp_path / "two")
    report = merged(tmp_path, "out", "one", "two", method="linear", dry_run=True)
    assert "bfloat16" in report.notes[0] and "float32" in report.notes[0]
    assert (report.dtype, len(report.notes)) == ("float32", 1)


def test_another_tokenizer_is_refused_unless_one_is_named(tmp_path: Path, byte_level_dir: Path) -> None:
    write_models(tmp_path, "one", "two", vocab_size=600)
    for folder in ("one", "two"):
        for file in byte_level_dir.iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    content = json.loads((byte_level_dir / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["!"], vocabulary['"'] = vocabulary['"'], vocabulary["!"]
    (tmp_path / "two/tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"two: its tokenizer is not that of .*: '!' has id 4 for 3"):
        merged(tmp_path, "out", "one", "two", method="linear")
    for options in ({"tokenizer": byte_level_dir}, {"carry_tokenizer": False}):
        assert not merged(tmp_path, "out", "one", "two", method="linear", dry_run=True, **options).notes


def test_another_chat_template_is_only_told(tmp_path: Path, byte_level_dir: Path) -> None:
    write_models(tmp_path, "one", "two", vocab_size=600)
    for folder in ("one", "two"):
        for file in byte_level_dir.iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((byte_level_dir / "tokenizer_config.json").read_text())
    (tmp_path / "two/tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "x"}))
    report = merged(tmp_path, "out", "one", "two", method="linear", dry_run=True)
    assert len(report.notes) == 1 and "another chat template" in report.notes[0]
    (tmp_path / "two/tokenizer_config.json").write_text(json.dumps(config))
    assert not merged(tmp_path, "out", "one", "two", method="linear", dry_run=True).notes
    (tmp_path / "two/additional_chat_templates").mkdir()
    (tmp_path / "two/additional_chat_templates/tool_use.jinja").write_text("x")
    report = merged(tmp_path, "out", "one", "two", method="linear", dry_run=True)
    assert len(report.notes) == 1 and "another chat template" in report.notes[0]


def test_a_chat_template_that_an_adapter_was_trained_with_is_told(
    spelled_model: Callable[..., Path], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    base, adapter = spelled_model("base", num_key_value_heads=1), tiny_adapter()
    folded = {"adapters": (ScaledPath(adapter, 1.0),), "dry_run": True}
    assert not merged(tmp_path, "out", "base", **folded).notes
    (adapter / "chat_template.jinja").write_text("x")
    (note,) = merged(tmp_path, "out", "base", **folded).notes
    assert f"another chat template; the output has that of {base} (-t {adapter}" in note
    assert not merged(tmp_path, "out", "base", **folded, tokenizer=base).notes
    template = json.loads((base / "tokenizer_config.json").read_text())["chat_template"]
    (adapter / "chat_template.jinja").write_text(template)
    assert not merged(tmp_path, "out", "base", **folded).notes


def test_a_missing_model_is_missing(tmp_path: Path) -> None:
    write_models(tmp_path, "one")
    with pytest.raises(MissingError, match=r"nowhere: no such model"):
        merged(tmp_path, "out", "one", "nowhere", method="linear")
