"""The files of sentence-transformers: steps in order, prompts by their names, what is damaged by its file."""

import json
from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.sentence_modules import (
    TRANSFORMER,
    Step,
    copy_steps,
    read_prompts,
    read_settings,
    read_steps,
    refuse_others,
    within,
)


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


def test_what_is_said_of_a_model_goes_with_it_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    source, made = tmp_path / "a", tmp_path / "b"
    (source / "1_Pooling").mkdir(parents=True)
    made.mkdir()
    copy_steps(source, made)
    assert not list(made.iterdir())
    steps = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (source / "modules.json").write_text(json.dumps(steps))
    (source / "1_Pooling/config.json").write_text('{"pooling_mode": "mean"}')
    copy_steps(source, made)
    assert read_steps(made)[1].settings() == {"pooling_mode": "mean"}
    for path in ("../..", "elsewhere"):
        (source / "modules.json").write_text(json.dumps([{"path": path, "type": "x.Transformer"}]))
        (source / "elsewhere").unlink(missing_ok=True)
        (source / "elsewhere").symlink_to(made)
        with pytest.raises(DataError, match="is outside"):
            copy_steps(source, made)


@pytest.mark.parametrize("target", ["..", "nowhere"])
def test_a_link_in_a_step_is_copied_as_a_file_or_refused(target: str, tmp_path: Path) -> None:
    source, made = tmp_path / "a", tmp_path / "b"
    (source / "1_Pooling").mkdir(parents=True)
    (tmp_path / "blob").write_text("{}")
    (source / "1_Pooling/config.json").symlink_to(tmp_path / "blob")  # as the cache of Hugging Face has it
    (source / "modules.json").write_text(json.dumps([{"path": "1_Pooling", "type": "x.Pooling"}]))
    copy_steps(source, made)
    assert (made / "1_Pooling/config.json").read_text() == "{}"
    assert not (made / "1_Pooling/config.json").is_symlink()
    (source / "1_Pooling/loop").symlink_to(target)
    with pytest.raises(DataError, match="loop: neither a file nor a folder"):
        copy_steps(source, made)


def test_the_prompt_that_is_always_there_has_no_name(tmp_path: Path) -> None:
    assert read_prompts(tmp_path) == {"": ""}
    told = {"prompts": {"query": "q: ", "web": "w: "}, "default_prompt_name": "web"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    assert read_prompts(tmp_path) == {"query": "q: ", "web": "w: ", "": "w: "}
    (tmp_path / "config_sentence_transformers.json").write_text('{"prompts": ["q: "]}')
    with pytest.raises(DataError, match="a prompt that is no text"):
        read_prompts(tmp_path)
    for default in ('"web"', '["query"]'):
        (tmp_path / "config_sentence_transformers.json").write_text(f'{{"default_prompt_name": {default}}}')
        with pytest.raises(DataError, match="is none of prompts"):
            read_prompts(tmp_path)
    (tmp_path / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    assert read_prompts(tmp_path) == {"": ""}


def test_an_object_within_others_is_empty_where_it_is_not_there(tmp_path: Path) -> None:
    told = {"a": {"b": {"c": 1}}, "d": 5}
    assert within(told, "a", "b", path=tmp_path) == {"c": 1}
    assert within(told, "x", "y", path=tmp_path) == {}
    with pytest.raises(DataError, match="d is no object"):
        within(told, "d", path=tmp_path)


def test_how_the_model_is_given_texts_may_be_left_unsaid(tmp_path: Path) -> None:
    assert read_settings(tmp_path, TRANSFORMER) == {}
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    assert read_settings(tmp_path, TRANSFORMER) == {"max_seq_length": 512}
