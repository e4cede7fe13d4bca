"""What goes with a model stays with the one that was trained on, in its folder and in its checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.formats.sentence_modules import step_files
from llmkit.model.pooling import Pooling, read_pooling
from llmkit.tokens.load import load_tokenizer
from llmkit.train.state import WHOLE_MODEL
from llmkit.workflows.pretrain.companions import keep_steps, whole_model

TRAINING = {"finetune": ("finetune",), "pretrain": ("pretrain", "-m")}
LINE = (
    *("--data", "data.jsonl", "--seq-len", "32", "--steps", "1", "--batch-rows", "1"),
    *("--threads", "1", "--device", "cpu", "-q"),
)
SAMPLING = {"eos_token_id": [0, 2], "temperature": 0.6, "top_p": 0.9}


@pytest.fixture
def embedder(spelled_model: Callable[..., Path]) -> Path:
    """A model whose vectors are of the last token, and which two tokens stop."""
    folder = spelled_model("embedder", tie_word_embeddings=True)
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_lasttoken": true}')
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "Q: "}}')
    (folder / "generation_config.json").write_text(json.dumps(SAMPLING))
    return folder


@pytest.mark.parametrize("command", TRAINING)
def test_a_model_trained_on_makes_vectors_and_is_sampled_as_before(
    command: str,
    embedder: Path,
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text('{"text": "one two three"}\n' * 20)
    done = llmkit_run(*TRAINING[command], embedder, "-o", "run", *LINE)
    assert done.status == 0, done.err
    for folder in (tmp_path / "run", tmp_path / "run/checkpoints/step-00000001"):
        assert read_pooling(folder) == Pooling("last", query="Q: ")
        told = json.loads((folder / "generation_config.json").read_text())
        assert SAMPLING.items() <= told.items()


def test_an_answer_stops_transformers_where_the_chat_template_ends_it(
    spelled_model: Callable[..., Path],
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import GenerationConfig

    monkeypatch.chdir(tmp_path)
    base = spelled_model("base", eos_token_id=0)
    (tmp_path / "data.jsonl").write_text('{"prompt": "one", "completion": "two"}\n' * 20)
    done = llmkit_run("finetune", base, "-o", "run", *LINE)
    assert done.status == 0, done.err
    end = load_tokenizer(base).id_of("<|im_end|>")
    assert GenerationConfig.from_pretrained(tmp_path / "run").eos_token_id == [0, end]
    assert "eos_token_id" not in whole_model(base, 0).generation


def test_what_an_adapter_is_trained_beside_stays_in_the_base(
    embedder: Path, llmkit_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.jsonl").write_text('{"text": "one two three"}\n' * 20)
    done = llmkit_run("finetune", embedder, "--lora", "-o", "adapter", *LINE)
    assert done.status == 0, done.err
    assert not step_files(tmp_path / "adapter")


def test_a_fresh_model_has_no_companions(tmp_path: Path) -> None:
    keep_steps(None, tmp_path, 8)
    assert whole_model(None) is WHOLE_MODEL
    assert not list(tmp_path.iterdir())


def test_vectors_of_a_gguf_file_are_made_alike_by_the_folder_trained_on_it(
    embedder: Path, llmkit_run: Callable[..., Any], tmp_path: Path
) -> None:
    path, folder = tmp_path / "model.gguf", tmp_path / "made"
    assert llmkit_run("convert", embedder, path, "-q").status == 0
    folder.mkdir()
    assert whole_model(path).generation["eos_token_id"]
    keep_steps(path, folder, 8)
    assert read_pooling(folder).mode == "last"


def test_steps_that_cannot_be_kept_are_found_before_training(embedder: Path) -> None:
    (embedder / "modules.json").write_text('[{"path": "..", "type": "x.Transformer"}]')
    with pytest.raises(DataError, match="is outside"):
        whole_model(embedder)
