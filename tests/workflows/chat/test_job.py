"""What is checked before any weight is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.workflows.chat.job import ChatFiles, ChatJob, open_chat, plan_chat


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=256)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _open(folder: Path, context: int | None = None, **files: Any) -> ChatJob:
    return open_chat(ChatFiles(model=folder, **files), GenerateConfig(chat=True), context)


@pytest.mark.parametrize("is_draft", [False, True])
def test_a_transcript_never_takes_the_place_of_an_adapters_or_a_draft_models_weights(
    folder: Path, tmp_path: Path, is_draft: bool
) -> None:
    weights = tmp_path / "other" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"")
    used: Any = {"draft": str(weights.parent)} if is_draft else {"adapters": (f"x={weights.parent}:0.5",)}
    with pytest.raises(UsageError, match="is there already, in the input"):
        open_chat(
            ChatFiles(model=folder, transcript=weights, force=True), GenerateConfig(chat=True, **used), None
        )


def test_the_context_is_the_models_or_less(folder: Path) -> None:
    assert _open(folder).context == 256 and _open(folder, 100).context == 100
    for wrong in (1, 257):
        with pytest.raises(UsageError, match="a context of 256"):
            _open(folder, wrong)


def test_a_transcript_is_there_already_or_is_resumed_or_replaced(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    _open(folder, transcript=path, resume=True)  # nothing to resume yet
    path.write_text('{"messages": []}\n')
    with pytest.raises(UsageError, match="already exists"):
        _open(folder, transcript=path)
    _open(folder, transcript=path, force=True)
    _open(folder, transcript=path, resume=True)
    with pytest.raises(UsageError, match="also an input"):
        _open(folder, transcript=path, turns=path, force=True)
    path.write_text("x\n")
    with pytest.raises(DataError, match=r"t\.jsonl:1"):
        _open(folder, transcript=path, resume=True)


@pytest.mark.parametrize(
    ("files", "kind", "problem"),
    [
        ({"resume": True}, UsageError, "--resume does nothing without"),
        ({"transcript": Path("-")}, UsageError, "stdout has the replies"),
        ({"turns": Path("nowhere")}, MissingError, "nowhere: no such file"),
        ({"model": Path("nowhere")}, MissingError, "no such model folder"),
    ],
)
def test_wrong_use_is_said_before_any_work(
    folder: Path, files: dict[str, Any], kind: type[LlmkitError], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        open_chat(ChatFiles(**({"model": folder} | files)), GenerateConfig(chat=True), None)


def test_a_model_without_a_chat_template_is_refused(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))
    with pytest.raises(MissingError, match="no chat template"):
        _open(folder)


def test_the_plan_counts_a_cache_of_the_whole_context(folder: Path) -> None:
    whole, half = (plan_chat(_open(folder, context)) for context in (None, 128))
    # K and V, 2 layers, 1 key/value head of 4 numbers, 4 bytes each
    assert whole.kv_bytes == 2 * half.kv_bytes == 2 * 2 * 4 * 4 * 256
    assert whole.context == 256 and whole.transcript is None
