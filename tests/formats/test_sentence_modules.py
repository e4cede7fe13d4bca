"""The files of sentence-transformers: steps in order, prompts by their names, what is damaged by its file."""

import json
from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.sentence_modules import Step, read_prompts, read_steps, read_transformer, refuse_others


def test_steps_come_in_order_with_their_folders(tmp_path: Path) -> None:
    assert read_steps(tmp_path) == []
    kinds = [
        ("sentence_transformers.models.Transformer", ""),
        ("new.place.modules.pooling.Pooling", "1_Pooling"),
    ]
    steps = [{"idx": at, "path": path, "type": kind} for at, (kind, path) in enumerate(kinds)]
    (tmp_path / "modules.json").write_text(json.dumps(steps))
    assert read_steps(tmp_path) == [
        Step("Transformer", tmp_path),
        Step("Pooling", tmp_path / "1_Pooling"),
    ]
    refuse_others(tmp_path, read_steps(tmp_path), ("Transformer", "Pooling"))
    with pytest.raises(ConfigError, match=r"modules\.json: the step Pooling is not done here"):
        refuse_others(tmp_path, read_steps(tmp_path), ("Transformer",))


def test_the_prompt_that_is_always_there_has_no_name(tmp_path: Path) -> None:
    assert read_prompts(tmp_path) == {"": ""}
    told = {"prompts": {"query": "q: ", "web": "w: "}, "default_prompt_name": "web"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    assert read_prompts(tmp_path) == {"query": "q: ", "web": "w: ", "": "w: "}
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": ["q: "]}')
    with pytest.raises(DataError, match="a prompt that is no text"):
        read_prompts(tmp_path)


def test_how_the_model_is_given_texts_may_be_left_unsaid(tmp_path: Path) -> None:
    assert read_transformer(tmp_path) == {}
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    assert read_transformer(tmp_path) == {"max_seq_length": 512}
