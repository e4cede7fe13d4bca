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


def test_a_document_that_is_longer_than_the_context_is_judged_by_its_beginning(
    serving: Serving, tokenizer: Tokenizer
) -> None:
    most = 256 - len(pair(tokenizer, ""))
    texts = ["1" * (most - 1), "1" * most, "1" * (most + 1) + "2" * 9]
    assert [len(pair(tokenizer, one)) for one in texts] == [255, 256, 266]
    asks = [ASKED | {"documents": [text, "a"], "return_documents": True} for text in texts]
    shorter, fits, longer = post(serving, *asks)
    assert scores_of(longer) == pytest.approx(scores_of(fits), abs=1e-6)
    assert scores_of(longer) != pytest.approx(scores_of(shorter), abs=1e-6)
    assert longer.json()["usage"] == fits.json()["usage"]  # no more is read or paid for
    assert {one["document"]["text"] for one in longer.json()["results"]} == {texts[2], "a"}


def test_a_document_is_cut_where_the_judges_own_length_ends(serving: Serving, tokenizer: Tokenizer) -> None:
    most = 100 - len(pair(tokenizer, ""))
    cut, whole = (
        post(serving, ASKED | {"documents": [text]}, relevance=_of_length(longest))[0]
        for text, longest in (("1" * 150, 100), ("1" * most, None))
    )
    assert scores_of(cut) == pytest.approx(scores_of(whole), abs=1e-6)
    assert cut.json()["usage"]["prompt_tokens"] == 100


def test_a_document_has_as_many_tokens_as_the_request_allows(serving: Serving) -> None:
    long, short = "1" * 99, "the quick fox"  # a digit is a token
    asks = (
        {"documents": [long, short], "max_tokens_per_doc": 30},
        {"documents": [long[:30], short]},
        {"documents": [long, short], "max_tokens_per_doc": 1000},
        {"documents": [long, short]},
        {"documents": [long, "\U0001f41d"], "max_tokens_per_doc": 3},  # a bee has four
        {"documents": [long[:3], ""]},
    )
    found = [scores_of(one) for one in post(serving, *(ASKED | ask for ask in asks))]
    for cut, whole in (found[:2], found[2:4], found[4:]):
        assert cut == pytest.approx(whole, abs=1e-6)
    assert found[0] != pytest.approx(found[2], abs=1e-6)


def test_no_half_of_a_character_is_judged_and_cutting_comes_to_an_end(
    serving: Serving, tokenizer: Tokenizer
) -> None:
    bees = [len(pair(tokenizer, "\U0001f41d" * count)) for count in (1, 2)]
    assert bees[1] - bees[0] == 4  # a token for each byte: some cuts are within a bee
    texts = ["1" * more + "\U0001f41d" * 100 for more in range(4)]
    fitting = ["1" * more + "\U0001f41d" * ((256 - bees[0] - more) // 4 + 1) for more in range(4)]
    cut, whole = post(serving, ASKED | {"documents": texts}, ASKED | {"documents": fitting})
    assert scores_of(cut) == pytest.approx(scores_of(whole), abs=1e-6)


def test_a_document_that_is_too_large_to_encode_is_cut_before(serving: Serving, tokenizer: Tokenizer) -> None:
    most = 256 - len(pair(tokenizer, ""))
    for text in ("1" * 1_200_000, "\u00e9" * 600_000):
        fits = text[: most // len(text[0].encode())]
        large, small = post(serving, *(ASKED | {"documents": [one, "a"]} for one in (text, fits)))
        assert scores_of(large) == pytest.approx(scores_of(small), abs=1e-6)


def test_a_query_that_leaves_no_room_for_a_document_is_refused(serving: Serving) -> None:
    (answer,) = post(serving, ASKED | {"query": "which dog? " * 40})
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("query", "context_length_exceeded")
    assert "leaves no room for a document in the 256 tokens that the model judges" in error["message"]


def test_a_template_without_places_for_both_is_told_of(serving: Serving, tokenizer_folder: Any) -> None:
    (answer,) = post(serving, ASKED | {"documents": ["a{0}" * 3]}, relevance=_Mute(70, 71))
    assert answer.status_code == 400 and "no place for a query and a document" in answer.text


def _of_length(longest: int | None) -> Relevance:
    return Relevance(70, 71, "Judge.", longest=longest)


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
