"""What a model that judges pairs says of itself is read as sentence-transformers writes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.model.pooling import OWN, read_pooling
from llmkit.model.relevance import Relevance, read_relevance

PACKAGE = "sentence_transformers."


def judging_folder(
    folder: Path,
    score: dict[str, Any],
    *,
    whole: dict[str, Any] | None = None,
    transformer: dict[str, Any] | None = None,
    kinds: tuple[str, ...] = ("Transformer", "LogitScore"),
) -> Path:
    """A folder's files beside its model."""
    steps = [{"idx": at, "path": kind * (at > 0), "type": PACKAGE + kind} for at, kind in enumerate(kinds)]
    files: dict[str, Any] = {"modules.json": steps, "LogitScore/config.json": score}
    files |= {} if whole is None else {"config_sentence_transformers.json": whole}
    files |= {} if transformer is None else {"sentence_bert_config.json": transformer}
    (folder / "LogitScore").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_a_model_that_says_nothing_judges_nothing(tmp_path: Path) -> None:
    assert read_relevance(tmp_path) is None


def test_tokens_prompt_activation_and_template_settings_are_read(tmp_path: Path) -> None:
    whole = {"prompts": {"web": "Find it."}, "default_prompt_name": "web"}
    identity = {"activation_fn": "torch.nn.modules.linear.Identity"}
    given = {
        "modality_config": {"text": {}, "message": {"format": "flat"}},
        "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
    }
    folder = judging_folder(
        tmp_path, {"true_token_id": 7, "false_token_id": None}, whole=whole | identity, transformer=given
    )
    found = read_relevance(folder)
    assert found == Relevance(7, None, "Find it.", False, {"add_generation_prompt": True})
    assert found.messages("q", "d") == [
        {"role": "system", "content": "Find it."},
        {"role": "query", "content": "q"},
        {"role": "document", "content": "d"},
    ]
    assert read_pooling(folder) == OWN  # it can make vectors as any model can


def test_a_pair_has_no_more_tokens_than_the_folder_says_and_the_context_has(tmp_path: Path) -> None:
    judge = read_relevance(judging_folder(tmp_path, {"true_token_id": 7}, transformer={"max_seq_length": 40}))
    assert judge is not None and (judge.room(96), judge.room(32)) == (40, 32)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": "40"}')
    with pytest.raises(DataError, match="max_seq_length '40' is no number"):
        read_relevance(tmp_path)


def test_a_score_is_a_probability_unless_another_activation_is_named(tmp_path: Path) -> None:
    found = read_relevance(judging_folder(tmp_path, {"true_token_id": 7, "false_token_id": 8}))
    assert found == Relevance(7, 8) and found.is_probability


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"score": {"true_token_id": "yes"}}, DataError, "true_token_id 'yes'"),
        ({"score": {}}, DataError, "true_token_id None"),
        ({"score": {"true_token_id": True}}, DataError, "true_token_id True"),
        ({"score": {"true_token_id": 7, "false_token_id": -1}}, DataError, "false_token_id -1"),
        ({"transformer": {"modality_config": [1]}}, DataError, "modality_config is no object"),
        ({"transformer": {"modality_config": {"message": "flat"}}}, DataError, "message is no object"),
        ({"transformer": {"processing_kwargs": "x"}}, DataError, "processing_kwargs is no object"),
        ({"kinds": ("Transformer", "Pooling", "LogitScore")}, ConfigError, "the step Pooling"),
        ({"whole": {"activation_fn": "torch.nn.Tanh"}}, ConfigError, "activation_fn Tanh"),
        (
            {"transformer": {"modality_config": {"message": {"format": "structured"}}}},
            ConfigError,
            "contents are structured",
        ),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    score = settings.pop("score", {"true_token_id": 7})
    folder = judging_folder(tmp_path, score, **settings)
    with pytest.raises(error, match=message):
        read_relevance(folder)


def test_a_score_is_the_yes_less_the_no_and_is_told_as_the_logistic_function_of_it() -> None:
    both, alone = Relevance(7, 8), Relevance(7, is_probability=False)
    assert (both.tokens, alone.tokens) == ((7, 8), (7,))
    assert both.score([2.0, 5.0]) == -3.0 and alone.score([2.0]) == alone.told(2.0) == 2.0
    assert both.told(-3.0) == pytest.approx(0.04742587317756678, rel=1e-15)  # 1 / (1 + e^3)
    assert (both.told(0.0), both.told(2000.0), both.told(-2000.0)) == (0.5, 1.0, 0.0)
    assert both.told(-40.0) == pytest.approx(4.248354255291589e-18, rel=1e-15)
