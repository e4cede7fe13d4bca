"""Passages ranked by a model that judges, beside transformers on the same weights."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import DataError
from llmkit.model.transformer import Transformer
from llmkit.retrieve.hits import Hit
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.retrieve.judge import Judge
from llmkit.workflows.retrieve.rerank import LikelihoodReranker, open_reranker
from tests.model.test_relevance import judging_folder

TEMPLATE = (
    "<|im_start|>{{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first }}\n"
    "{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n"
    "{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}<|im_end|>"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
TEXTS = ("An ant.", "A bee makes honey.", "A cat sleeps.")


def hits(*texts: str) -> list[Hit]:
    return [
        Hit(id=str(at), score=0.0, document=str(at), start=0, end=1, heading="", text=text, source=None)
        for at, text in enumerate(texts)
    ]


@pytest.fixture
def folder(spelled_model: Callable[..., Path]) -> Path:
    made = judging_folder(
        spelled_model(max_position_embeddings=96),
        {"true_token_id": 5, "false_token_id": 9},
        whole={"prompts": {"web": "Find."}, "default_prompt_name": "web"},
        transformer={"processing_kwargs": {"chat_template": {"add_generation_prompt": True}}},
    )
    (made / "chat_template.jinja").write_text(TEMPLATE)
    return made


def by_hand(folder: Path, query: str, text: str) -> float:
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = f"<|im_start|>Find.\n{query}\n{text}<|im_end|><|im_start|>"
    with torch.no_grad():
        scores = peer(torch.tensor([load_tokenizer(folder).encode(prompt)])).logits[0, -1].double()
    return float(scores[5] - scores[9])


def test_scores_are_those_of_the_tokens_of_yes_and_no(folder: Path) -> None:
    expected = {text: by_hand(folder, "honey?", text) for text in TEXTS}
    ranked = open_reranker(folder, "cpu").rank("honey?", hits(*TEXTS))
    assert [one.text for one in ranked] == sorted(expected, key=lambda text: -expected[text])
    told = {one.text: 1 / (1 + math.exp(-expected[one.text])) for one in ranked}
    assert {one.text: one.score for one in ranked} == pytest.approx(told, abs=1e-5)


def test_scores_of_the_whole_vocabulary_are_there_for_few_pairs_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = open_reranker(folder, "cpu")
    whole = judge.rank("honey?", hits(*TEXTS))
    logits, rows = Transformer.logits, []
    monkeypatch.setattr("llmkit.workflows.retrieve.judge._PAIRS", 2)
    monkeypatch.setattr(Transformer, "logits", lambda model, x: rows.append(len(x)) or logits(model, x))
    scores = {one.text: one.score for one in judge.rank("honey?", hits(*TEXTS))}
    assert scores == pytest.approx({one.text: one.score for one in whole}, abs=1e-6) and rows == [2, 1]


def test_a_logit_may_be_the_score_itself(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"web": "Find."}, "default_prompt_name": "web", "activation_fn": "torch.nn.Identity"}'
    )
    (one,) = open_reranker(folder, "cpu").rank("honey?", hits(TEXTS[1]))
    assert one.score == pytest.approx(by_hand(folder, "honey?", TEXTS[1]), abs=1e-4)


def test_a_long_passage_is_cut_at_its_end_and_a_long_query_is_an_error(folder: Path) -> None:
    judge = open_reranker(folder, "cpu")
    (one,) = judge.rank("honey?", hits("many words " * 40))
    assert one.score > 0 and one.text == "many words " * 40
    with pytest.raises(DataError, match="reads 96 tokens at once"):
        judge.rank("honey? " * 40, hits("A bee."))
    assert judge.rank("honey?", []) == []


def test_cutting_within_characters_comes_to_an_end(folder: Path) -> None:
    texts = ["1" * more + "\U0001f41d" * 60 for more in range(4)]
    assert len(open_reranker(folder, "cpu").rank("honey?", hits(*texts))) == 4


def test_a_passage_is_cut_where_the_judges_own_length_ends(folder: Path) -> None:
    (whole,) = open_reranker(folder, "cpu").rank("honey?", hits("A bee. " * 12))
    told = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps(told | {"max_seq_length": 48}))
    (cut,) = open_reranker(folder, "cpu").rank("honey?", hits("A bee. " * 12))
    assert cut.score != whole.score
    with pytest.raises(DataError, match="reads 48 tokens at once"):
        open_reranker(folder, "cpu").rank("honey? " * 15, hits("A bee."))


def test_a_template_without_places_for_both_is_an_error(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(DataError, match="no place for a query and a document"):
        open_reranker(folder, "cpu").rank("honey?", hits("A bee."))


def test_a_model_without_the_token_of_yes_is_an_error(folder: Path) -> None:
    (folder / "LogitScore/config.json").write_text('{"true_token_id": 999999}')
    with pytest.raises(DataError, match="judges by token 999,999, and has"):
        open_reranker(folder, "cpu")


def test_a_model_that_says_nothing_is_ranked_by_likelihood(spelled_model: Callable[..., Path]) -> None:
    assert isinstance(open_reranker(spelled_model(), "cpu"), LikelihoodReranker)


def test_a_judge_is_opened_for_a_model_that_says_so(folder: Path) -> None:
    assert isinstance(open_reranker(folder, "cpu"), Judge)
