"""What a model's files say of its vectors is read as sentence-transformers writes it, now and before, and is
written so that it is read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.gguf.values import Typed
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.pooling import OWN, Pooling, read_pooling, with_head_of, write_pooling

OLD = "sentence_transformers.models."
NEW = "sentence_transformers.sentence_transformer.modules.pooling."


def folder_of(
    folder: Path,
    pooling: dict[str, Any],
    *,
    prompts: dict[str, Any] | None = None,
    whole: dict[str, Any] | None = None,
    kinds: tuple[str, ...] = (OLD + "Transformer", OLD + "Pooling", OLD + "Normalize"),
    transformer: dict[str, Any] | None = None,
) -> Path:
    steps = [{"idx": at, "name": str(at), "path": f"{at}_X", "type": kind} for at, kind in enumerate(kinds)]
    files: dict[str, Any] = {"modules.json": steps, "1_X/config.json": pooling}
    if prompts is not None or whole is not None:
        files["config_sentence_transformers.json"] = {"prompts": prompts, **(whole or {})}
    if transformer is not None:
        files["sentence_bert_config.json"] = transformer
    (folder / "1_X").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False}, "mean"),
        ({"word_embedding_dimension": 8}, "mean"),
    ],
)
def test_both_ways_of_naming_tokens_that_count_are_read(
    told: dict[str, Any], mode: str, tmp_path: Path
) -> None:
    assert read_pooling(folder_of(tmp_path, told)).mode == mode


def test_a_folder_that_says_nothing_has_our_own_way(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) == OWN and not OWN.is_told


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ({"query": "Query: ", "document": ""}, "Query: ", ""),
        ({"query": "q: ", "passage": "p: "}, "q: ", "p: "),
        ({"web": "x"}, "", ""),
        (None, "", ""),
    ],
)
def test_what_stands_before_queries_and_passages_is_read(
    name: dict[str, Any] | None, query: str, passage: str, tmp_path: Path
) -> None:
    found = read_pooling(folder_of(tmp_path, {"pooling_mode": "lasttoken"}, prompts=name))
    assert (found.query, found.passage) == (query, passage)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": {"pooling_mode": "cls"}}, "pooling by cls"),
        ({"pooling": {"pooling_mode_weightedmean_tokens": True}}, "weightedmean"),
        ({"pooling": {"pooling_mode": ["mean", "max"]}}, "mean"),
        ({"pooling": {"include_prompt": False}, "prompts": {"query": "q: "}}, "include_prompt"),
        ({"pooling": {}, "kinds": (OLD + "Transformer", OLD + "Pooling", OLD + "Dense")}, "the step Dense"),
        ({"pooling": {}, "kinds": (OLD + "Transformer",)}, "no step"),
        ({"pooling": {}, "transformer": {"modality_config": {"message": {}}}}, "messages of a chat"),
        ({"pooling": {}, "transformer": {"do_lower_case": True}}, "do_lower_case True"),
        ({"pooling": {}, "whole": {"truncate_dim": 8}}, "truncate_dim 8"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, **settings)
    with pytest.raises(ConfigError, match=message):
        read_pooling(folder)


def test_no_more_tokens_make_a_vector_than_the_model_is_given_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    found = read_pooling(folder_of(tmp_path / "a", {}, transformer={"max_seq_length": 5}))
    assert [found.room(context) for context in (4, 6)] == [4, 5] and OWN.room(6) == 6
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="max_seq_length 0 is no number"):
        read_pooling(folder_of(tmp_path / "b", {}, transformer={"max_seq_length": 0}))


def test_a_damaged_list_of_steps_is_an_error_of_data(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('{"idx": 0}')
    with pytest.raises(DataError, match="not a list of steps"):
        read_pooling(tmp_path)
    (tmp_path / "modules.json").unlink()
    folder = folder_of(tmp_path, {"pooling_mode": "mean"}, prompts={"query": 3})
    with pytest.raises(DataError, match="a prompt that is no text"):
        read_pooling(folder)


@pytest.mark.parametrize("pooling", [OWN, Pooling("mean"), Pooling("last", "Query: ", "Passage: ")])
def test_what_is_written_is_read_again(pooling: Pooling, tmp_path: Path) -> None:
    write_pooling(tmp_path, pooling, 8)
    assert read_pooling(tmp_path) == pooling


@pytest.mark.parametrize(("number", "mode"), [(None, "own"), (0, "own"), (1, "mean"), (3, "last"), (2, None)])
def test_a_gguf_file_says_it_by_a_number(number: int | None, mode: str | None, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    told = {} if number is None else {"qwen3.pooling_type": Typed("u32", number)}
    with path.open("wb") as stream:
        write_gguf(stream, {"general.architecture": "qwen3", **told}, [])
    if mode is None:
        with pytest.raises(ConfigError, match="pooling_type 2 is not done"):
            read_pooling(path)
    else:
        assert read_pooling(path).mode == mode


def test_tokens_that_do_not_count_come_first() -> None:
    assert [Pooling(mode).skipped(7, 2) for mode in ("own", "mean", "last")] == [2, 0, 6]


def test_only_a_model_made_for_vectors_may_have_no_head(
    make_config: Callable[..., ModelConfig], tmp_path: Path
) -> None:
    config = make_config(tie_word_embeddings=False)
    names = ["model.norm.weight"]
    assert with_head_of(config, tmp_path, names) == config
    write_pooling(tmp_path, Pooling("last"), 8)
    assert with_head_of(config, tmp_path, names).tie_word_embeddings
    assert with_head_of(config, tmp_path, [*names, "lm_head.weight"]) == config
