"""Rankings over HTTP, beside one pass of the model over each pair."""

import asyncio
import math
from typing import Any

import pytest
import torch

from llmkit.engine.engine import EngineConfig
from llmkit.model.relevance import Relevance
from llmkit.model.transformer import Transformer
from llmkit.server.adapters import AdapterSpec
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.adapters_made import read
from tests.server.conftest import Serving

PATH = "/v1/rerank"
DOCUMENTS = ["the quick fox", "", "over the lazy dog " * 9, "é"]
ASKED: dict[str, Any] = {"query": "which dog?", "documents": DOCUMENTS}


def post(serving: Serving, *bodies: dict[str, Any], path: str = PATH, **settings: Any) -> list[Any]:
    async def go() -> list[Any]:
        async with serving(**settings) as client:
            return list(await asyncio.gather(*(client.post(path, json=body) for body in bodies)))

    return asyncio.run(go())


def pair(tokenizer: Tokenizer, document: str, *, opened: bool = False) -> list[int]:
    turns = (("system", "Judge."), ("query", "which dog?"), ("document", document))
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return tokenizer.backend.encode(text + "<|im_start|>assistant\n" * opened).ids


def by_hand(model: Transformer, ids: list[int]) -> float:
    with torch.no_grad():
        scores = model(torch.tensor([ids]))[0, -1].double()
    return float(scores[70] - scores[71])


def scores_of(answer: Any) -> dict[int, float]:
    assert answer.status_code == 200, answer.text
    return {one["index"]: one["relevance_score"] for one in answer.json()["results"]}


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_scores_are_those_of_one_pass_over_each_pair_and_the_best_comes_first(
    path: str, serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    (answer,) = post(serving, ASKED, path=path)
    rows = [pair(tokenizer, one) for one in DOCUMENTS]
    logits = [by_hand(model, row) for row in rows]
    found = scores_of(answer)
    assert found == pytest.approx({at: 1 / (1 + math.exp(-one)) for at, one in enumerate(logits)}, abs=1e-5)
    assert list(found) == sorted(range(4), key=lambda at: -logits[at])
    total = sum(map(len, rows))
    assert answer.json()["usage"] == {"prompt_tokens": total, "total_tokens": total}
    assert answer.json()["model"] == "tiny"


def test_a_turn_is_opened_and_a_logit_is_the_score_where_the_models_files_say_so(
    serving: Serving, model: Transformer, tokenizer: Tokenizer
) -> None:
    told = Relevance(70, 71, "Judge.", is_probability=False, settings={"add_generation_prompt": True})
    (answer,) = post(serving, ASKED, relevance=told)
    expected = {at: by_hand(model, pair(tokenizer, one, opened=True)) for at, one in enumerate(DOCUMENTS)}
    assert scores_of(answer) == pytest.approx(expected, abs=1e-4)
    (alone,) = post(serving, ASKED, relevance=Relevance(70, None, "Judge.", is_probability=False))
    with torch.no_grad():
        expected = {
            at: float(model(torch.tensor([pair(tokenizer, one)]))[0, -1, 70])
            for at, one in enumerate(DOCUMENTS)
        }
    assert scores_of(alone) == pytest.approx(expected, abs=1e-4)


def test_so_many_come_back_and_with_their_documents_where_that_is_asked_for(serving: Serving) -> None:
    whole, two, told = post(serving, ASKED, ASKED | {"top_n": 2}, ASKED | {"return_documents": True})
    best = list(scores_of(whole))
    assert len(best) == 4 and list(scores_of(two)) == best[:2]
    assert [one["document"] for one in told.json()["results"]] == [{"text": DOCUMENTS[at]} for at in best]


def test_what_pairs_have_in_common_is_read_once(serving: Serving) -> None:
    async def go() -> tuple[Any, int]:
        async with serving(engine=EngineConfig(positions=2048, block_tokens=4)) as client:
            await client.post(PATH, json=ASKED | {"documents": ["a"]})
            before = client.thread.load().cached_tokens  # type: ignore[attr-defined]
            await client.post(PATH, json=ASKED | {"documents": ["b"]})
            return before, client.thread.load().cached_tokens  # type: ignore[attr-defined]

    before, after = asyncio.run(go())
    assert before == 0 and after > 10


def test_a_model_that_was_not_made_to_judge_says_so(serving: Serving) -> None:
    (answer,) = post(serving, ASKED, relevance=None)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "model", "unsupported_model")
    assert "not made to judge" in error["message"]


def test_a_document_that_is_longer_than_the_context_is_named_and_one_that_fills_it_is_judged(
    serving: Serving, tokenizer: Tokenizer
) -> None:
    most = 256 - len(pair(tokenizer, ""))
    texts = ["1" * (most - 1), "1" * most, "1" * (most + 1)]
    assert [len(pair(tokenizer, one)) for one in texts] == [255, 256, 257]
    asks = [ASKED | {"documents": ["a", text]} for text in texts]
    shorter, fits, longer = post(serving, *asks)
    assert len(scores_of(shorter)) == len(scores_of(fits)) == 2
    error = longer.json()["error"]
    assert (error["param"], error["code"]) == ("documents[1]", "context_length_exceeded")
    assert "257 tokens with the query, and the model judges 256" in error["message"]


def test_a_template_without_places_for_both_is_told_of(serving: Serving, tokenizer_folder: Any) -> None:
    (answer,) = post(serving, ASKED | {"documents": ["a{0}" * 3]}, relevance=_Mute(70, 71))
    assert answer.status_code == 400 and "no place for a query and a document" in answer.text


class _Mute(Relevance):
    """Has a document's role under another name."""

    def messages(self, query: str, passage: str) -> list[dict[str, Any]]:
        return [{"role": "query", "content": query}]


def test_an_adapter_changes_the_judge_and_one_that_is_not_there_is_refused(
    serving: Serving, model: Transformer
) -> None:
    async def go() -> list[Any]:
        async with serving(read=read) as client:
            (served,) = client.app.state.serve.models.all()  # type: ignore[attr-defined]
            await served.adapters.load(AdapterSpec("poet", "one"))
            names = ("tiny", "tiny:poet", "tiny:painter")
            return [await client.post(PATH, json=ASKED | {"model": name}) for name in names]

    base, poet, none = asyncio.run(go())
    assert base.json()["model"] == "tiny" and poet.json()["model"] == "tiny:poet"
    assert scores_of(poet) != pytest.approx(scores_of(base), abs=1e-3) and none.status_code == 404


def test_a_key_pays_for_what_was_read_and_a_spent_one_gets_429(serving: Serving) -> None:
    rules = KeyRules(sha256=digest_of("alice"), tokens_per_day=250)
    gate = KeyedGate(Keys({"alice": rules}), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> list[int]:
        async with serving(gate=gate) as client:
            head = {"authorization": "Bearer alice"}
            return [(await client.post(PATH, json=ASKED, headers=head)).status_code for _ in range(2)]

    assert asyncio.run(go()) == [200, 429]


def test_texts_are_written_while_pairs_are_judged(serving: Serving) -> None:
    asked = {"prompt": [1, 2], "max_tokens": 40, "ignore_eos": True, "temperature": 0}

    async def go() -> tuple[Any, Any, Any]:
        async with serving() as client:
            alone = await client.post("/v1/completions", json=asked)
            beside, many = await asyncio.gather(
                client.post("/v1/completions", json=asked),
                client.post(PATH, json=ASKED | {"documents": DOCUMENTS * 20}),
            )
            return alone, beside, many

    alone, beside, many = asyncio.run(go())
    assert beside.json()["choices"] == alone.json()["choices"] and len(scores_of(many)) == 80
