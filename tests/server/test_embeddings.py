"""Vectors over HTTP, beside those that `llmkit retrieve` makes of the same model and the same texts."""

import asyncio
import base64
from typing import Any, Literal

import numpy as np
import pytest

from llmkit.model.pooling import Pooling
from llmkit.model.transformer import Transformer
from llmkit.retrieve.embed import Embedder
from llmkit.server.adapters import AdapterSpec, ServedAdapters
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving

PATH = "/v1/embeddings"
TEXTS = ["the quick fox", "é", "over the lazy dog " * 9]


def post(serving: Serving, *bodies: dict[str, Any], **settings: Any) -> list[Any]:
    async def go() -> list[Any]:
        async with serving(**settings) as client:
            return list(await asyncio.gather(*(client.post(PATH, json=body) for body in bodies)))

    return asyncio.run(go())


def vectors(answer: Any) -> Any:
    return np.array([one["embedding"] for one in answer.json()["data"]], np.float32)


def test_vectors_of_texts_and_of_their_ids_are_those_that_an_index_has(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    ids = [tokenizer.backend.encode(text).ids for text in TEXTS]
    texts, tokens, one, row = post(
        serving, {"input": TEXTS}, {"input": ids}, {"input": TEXTS[0]}, {"input": ids[0]}
    )
    expected = Embedder(model, PromptEncoder(tokenizer)).embed(TEXTS)
    for found, wanted in ((texts, expected), (tokens, expected), (one, expected[:1]), (row, expected[:1])):
        np.testing.assert_allclose(vectors(found), wanted, atol=1e-5)
    assert [item["index"] for item in texts.json()["data"]] == [0, 1, 2]
    total = sum(len(row) for row in ids)
    assert texts.json()["usage"] == {"prompt_tokens": total, "total_tokens": total}
    assert texts.json()["model"] == "tiny"


@pytest.mark.parametrize("mode", ["mean", "last"])
def test_vectors_are_pooled_as_the_models_files_say(
    mode: Literal["mean", "last"], serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    pooling = Pooling(mode, query="the ", passage="fox ")  # which clients write themselves
    ids = [tokenizer.backend.encode(text).ids for text in TEXTS]
    texts, tokens = post(serving, {"input": TEXTS}, {"input": ids}, pooling=pooling)
    expected = Embedder(model, PromptEncoder(tokenizer), Pooling(mode)).embed(TEXTS)
    for found in (texts, tokens):
        np.testing.assert_allclose(vectors(found), expected, atol=1e-5)
    (longer,) = post(serving, {"input": [[1, 2, 3]]}, pooling=Pooling(mode, longest=2))
    assert longer.status_code == 400 and "3 tokens, and the context has 2" in longer.text


def test_base64_is_the_same_numbers(serving: Serving) -> None:
    plain, coded = post(serving, {"input": TEXTS}, {"input": TEXTS, "encoding_format": "base64"})
    told = [base64.b64decode(one["embedding"]) for one in coded.json()["data"]]
    np.testing.assert_array_equal(np.array([np.frombuffer(one, "<f4") for one in told]), vectors(plain))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "a", "dimensions": 17}, "dimensions"),
        ({"input": "a", "dimensions": -1}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [10**6]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [5] * 257}, "input"),
        ({"input": "x" * 1000}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": "a", "truncate": True}, "truncate"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_followed_is_refused_by_name(
    body: dict[str, Any], param: str, serving: Serving
) -> None:
    (answer,) = post(serving, body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_its_own_width_is_a_number_of_dimensions_that_it_has(serving: Serving) -> None:
    (answer,) = post(serving, {"input": "a", "dimensions": 16})
    assert answer.status_code == 200 and vectors(answer).shape == (1, 16)


def test_a_shorter_vector_is_the_beginning_of_the_whole_and_has_length_1_again(serving: Serving) -> None:
    whole, short = post(serving, {"input": TEXTS}, {"input": TEXTS, "dimensions": 5})
    begin = vectors(whole)[:, :5].astype(np.float64)
    expected = begin / np.linalg.norm(begin, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(short), expected, atol=1e-6)


def test_an_adapter_has_no_vectors(serving: Serving) -> None:
    adapters = ServedAdapters([(AdapterSpec("dutch", "d"), 0)])
    (answer,) = post(serving, {"input": "a", "model": "tiny:dutch"}, adapters=adapters)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "model"


def test_a_key_pays_for_what_was_read_and_a_spent_one_gets_429(serving: Serving) -> None:
    rules = KeyRules(sha256=digest_of("alice"), tokens_per_day=8)
    gate = KeyedGate(Keys({"alice": rules}), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> list[Any]:
        async with serving(gate=gate) as client:
            head = {"authorization": "Bearer alice"}
            bodies = [{"input": [1, 2, 3, 4, 5]}, {"input": [1, 2, 3, 4, 5]}, {"input": [1]}]
            return [await client.post(PATH, json=body, headers=head) for body in bodies]

    first, over, small = asyncio.run(go())
    assert (first.status_code, over.status_code, small.status_code) == (200, 429, 200)


def test_texts_are_written_while_vectors_are_made(serving: Serving) -> None:
    asked = {"prompt": [1, 2], "max_tokens": 40, "ignore_eos": True, "temperature": 0}

    async def go() -> tuple[Any, Any, Any]:
        async with serving() as client:
            alone = await client.post("/v1/completions", json=asked)
            beside, many = await asyncio.gather(
                client.post("/v1/completions", json=asked), client.post(PATH, json={"input": TEXTS * 40})
            )
            return alone, beside, many

    alone, beside, many = asyncio.run(go())
    assert beside.json()["choices"] == alone.json()["choices"]
    assert vectors(many).shape == (120, 16)
