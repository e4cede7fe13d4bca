"""Texts to vectors, beside transformers on the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from llmkit.errors import DataError
from llmkit.formats.model_folder import read_tensors
from llmkit.model.load import load_model
from llmkit.model.pooling import Pooling, read_pooling, write_pooling
from llmkit.retrieve import embed as module
from llmkit.retrieve.embed import Embedder
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.post import add_around
from llmkit.tokens.prompt import PromptEncoder

TEXTS = ["A bee makes honey.", "an ant", "", "Straße " * 40, "def f(x): return x"]


@pytest.fixture
def folder(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


def embedder_of(folder: Path) -> Embedder:
    return Embedder(load_model(folder), PromptEncoder(load_tokenizer(folder)))


def test_a_vector_is_the_mean_of_the_last_hidden_states_of_transformers_and_of_length_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel

    encoder = PromptEncoder(load_tokenizer(folder))
    peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for text in TEXTS:
        ids = encoder.encode(text, special=False) if text else []
        total = np.zeros(peer.config.hidden_size)
        for start in range(0, len(ids), 64):  # its context
            with torch.no_grad():
                states = peer(torch.tensor([ids[start : start + 64]])).last_hidden_state[0]
            total += states.double().sum(0).numpy()
        expected.append(total / (np.linalg.norm(total) or 1))
    for tokens in (4096, 100):  # together, and a few at a time
        monkeypatch.setattr(module, "PASS_TOKENS", tokens)
        assert np.abs(embedder_of(folder).embed(TEXTS) - np.stack(expected)).max() < 1e-5


def test_a_begin_token_is_seen_and_not_counted(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    tokenizer = load_tokenizer(folder)
    model = load_model(folder)
    ids = PromptEncoder(tokenizer).encode("Once upon a time")
    assert ids[0] == tokenizer.bos_id
    with torch.no_grad():
        mean = model.hidden(torch.tensor([ids]))[0, 1:].double().sum(0).numpy()
    (vector,) = Embedder(model, PromptEncoder(tokenizer)).embed(["Once upon a time"])
    assert np.abs(vector - mean / np.linalg.norm(mean)).max() < 1e-6


@pytest.mark.parametrize("mode", ["mean", "last"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_made_for_vectors_has_those_of_its_own_pooling(
    mode: Literal["mean", "last"], tied: bool, spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    """As transformers saves one: no head, no `model.` before names, and an end token behind each text."""
    from transformers import AutoModel

    source = spelled_model(tie_word_embeddings=tied)
    AutoModel.from_pretrained(source, dtype=torch.float32).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(source)
    end = tokenizer.eos_id
    assert end is not None
    tokenizer.save(tmp_path)
    add_around(tokenizer.backend, None, tokenizer.token_text(end))
    tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    pooling = Pooling(mode, query="Query: ", passage="text: ")
    write_pooling(tmp_path, pooling, 16)
    assert "lm_head.weight" not in read_tensors(tmp_path)

    peer = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()

    def by_hand(text: str) -> Any:
        ids = [*tokenizer.backend.encode(text, add_special_tokens=False).ids, end]
        with torch.no_grad():
            states = peer(torch.tensor([ids])).last_hidden_state[0].double().numpy()
        vector = states[-1] if mode == "last" else states.mean(0)
        return vector / np.linalg.norm(vector)

    own = Embedder(load_model(tmp_path), PromptEncoder(load_tokenizer(tmp_path)), read_pooling(tmp_path))
    texts = ["A bee makes honey.", "an ant"]
    assert np.abs(own.embed(texts) - [by_hand(f"text: {one}") for one in texts]).max() < 1e-5
    assert np.abs(own.embed_query("an ant") - by_hand("Query: an ant")).max() < 1e-5
    assert not own.embed([""]).any()


def test_a_vector_of_the_last_token_is_of_a_text_that_is_read_whole(folder: Path) -> None:
    last = Embedder(load_model(folder), PromptEncoder(load_tokenizer(folder)), Pooling("last"))
    with pytest.raises(DataError, match="makes vectors of up to 64"):
        last.embed(TEXTS)
    shorter = Embedder(load_model(folder), PromptEncoder(load_tokenizer(folder)), Pooling("last", longest=2))
    with pytest.raises(DataError, match="makes vectors of up to 2"):
        shorter.embed_query("a bee and an ant")


def test_a_vector_is_the_same_whatever_is_read_beside_it_where_positions_turn_by_length(
    spelled_model: Callable[..., Path],
) -> None:
    scaling = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 16}
    embedder = embedder_of(spelled_model(rope_scaling=scaling))
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.abs(embedder.embed(TEXTS) - alone).max() < 1e-6


def test_what_is_not_a_number_is_an_error(folder: Path) -> None:
    embedder = embedder_of(folder)
    with torch.no_grad():
        embedder._model.model.norm.weight.fill_(float("nan"))  # type: ignore[operator, union-attr]
    with pytest.raises(DataError, match="not numbers"):
        embedder.embed(["an ant"])
