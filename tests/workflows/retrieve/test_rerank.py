"""Ranking again by a model, beside transformers on the same weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import DataError
from llmkit.retrieve.config import IndexConfig
from llmkit.retrieve.hits import Hit, hits_of
from llmkit.retrieve.search import Found
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.rerank import open_reranker

TEXTS = ("# Ants\nAn ant carries leaves.", "A bee.", "many words " * 30, "A cat sleeps.")


@pytest.fixture
def model(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


def rank(tmp_path: Path, model: Path, query: str) -> list[Hit]:
    rows = (json.dumps({"id": str(number), "text": text}) for number, text in enumerate(TEXTS))
    (tmp_path / "d.jsonl").write_text("\n".join(rows) + "\n")
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(), force=True)
    with open_index(tmp_path / "i") as store:
        hits = hits_of(store, [Found(number, 0.0) for number in (4, 3, 2, 1)])
        return open_reranker(model, "cpu").rank(query, hits)


def test_scores_are_the_mean_log_probabilities_that_transformers_gives(tmp_path: Path, model: Path) -> None:
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    encoder = PromptEncoder(load_tokenizer(model))
    asked = encoder.encode(" who sleeps?", special=False)
    between = encoder.encode("\n\nQuestion:", special=False)
    expected = {}
    for number, text in enumerate(TEXTS):
        heading = "Ants\n" if number == 0 else ""
        passage = encoder.encode(f"Passage: {heading}{text}")[: 64 - len(between) - len(asked)]
        ids = torch.tensor([[*passage, *between, *asked]])
        assert ids.shape[1] <= 64
        with torch.no_grad():
            scores = peer(ids).logits[0].log_softmax(-1)
        places = range(ids.shape[1] - len(asked), ids.shape[1])
        expected[str(number)] = sum(float(scores[at - 1, ids[0, at]]) for at in places) / len(asked)
    ranked = rank(tmp_path, model, "who sleeps?")
    assert {one.document: one.score for one in ranked} == pytest.approx(expected, abs=1e-4)
    assert [one.document for one in ranked] == sorted(expected, key=lambda number: -expected[number])


def test_nothing_is_ranked_without_reading_weights(model: Path) -> None:
    reranker = open_reranker(model, "cpu")
    assert reranker.rank("an ant", []) == []
    assert "engine" not in vars(reranker._scorer)


def test_a_query_that_leaves_no_room_is_an_error(tmp_path: Path, model: Path) -> None:
    with pytest.raises(DataError, match="reads 64 at once"):
        rank(tmp_path, model, "word " * 80)
