"""Tokens counted, spelled and put together, in vLLM's words and in llama.cpp's."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.model.transformer import Transformer
from llmkit.server.admission import Admission
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.usage import UsageStore
from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving, served_app


def post(serving: Serving, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
    async def go() -> list[Any]:
        async with serving() as client:
            return [(await client.post(path, json=body)) for path, body in requests]

    return asyncio.run(go())


def test_ids_are_the_tokenizers_and_go_back_to_the_text(serving: Serving, tokenizer: Tokenizer) -> None:
    ids = tokenizer.backend.encode("the fox é").ids
    vllm, llama, back = post(
        serving,
        ("/tokenize", {"prompt": "the fox é", "return_token_strs": True}),
        ("/tokenize", {"content": "the fox é", "with_pieces": True}),
        ("/detokenize", {"tokens": ids}),
    )
    assert vllm.json()["tokens"] == ids == [one["id"] for one in llama.json()["tokens"]]
    assert vllm.json()["count"] == len(ids) == len(vllm.json()["token_strs"])
    assert back.json() == {"prompt": "the fox é", "content": "the fox é"}


def test_marks_in_a_text_are_special_or_plain_as_the_endpoint_of_its_words_reads_them(
    serving: Serving, tokenizer: Tokenizer
) -> None:
    text = "<|im_start|>é<|im_end|>"
    by_default, plain, openai, special, counted = post(
        serving,
        ("/tokenize", {"content": text, "with_pieces": True}),
        ("/tokenize", {"content": text, "parse_special": False}),
        ("/tokenize", {"prompt": text}),
        ("/tokenize", {"prompt": text, "parse_special": True}),
        ("/completion", {"prompt": text, "n_predict": 1}),
    )
    start, end = (tokenizer.special_ids[f"<|im_{name}|>"] for name in ("start", "end"))
    told = by_default.json()["tokens"]
    assert [one["id"] for one in told] == special.json()["tokens"] and told[0]["id"] == start
    assert [one["piece"] for one in told] == ["<|im_start|>", [0xC3], [0xA9], "<|im_end|>"]
    assert told[-1]["id"] == end and counted.json()["tokens_evaluated"] == len(told)
    assert plain.json() == openai.json() and start not in plain.json()["tokens"]
    (refused,) = post(
        serving, ("/tokenize", {"messages": [{"role": "user", "content": "a"}], "parse_special": False})
    )
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "parse_special"


def test_a_conversation_is_written_as_its_template_writes_it(serving: Serving) -> None:
    messages = [{"role": "user", "content": "hi"}]
    template, counted, anthropic = post(
        serving,
        ("/apply-template", {"messages": messages}),
        ("/tokenize", {"messages": messages}),
        ("/v1/messages/count_tokens", {"messages": messages}),
    )
    assert template.json()["prompt"] == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert counted.json()["count"] == anthropic.json()["input_tokens"]


def test_a_conversation_without_thoughts_is_the_same_for_who_counts_and_who_answers(
    model: Transformer, tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tokenizer_folder, tmp_path / "tokenizer"))
    template = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    talk = {"messages": [{"role": "user", "content": "hi"}]}
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    disabled = {"thinking": {"type": "disabled"}}

    async def go() -> list[dict[str, Any]]:
        async with served_app(model, folder) as (app, _):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                asked = [
                    ("/tokenize", talk),
                    ("/tokenize", talk | off),
                    ("/v1/chat/completions", talk | off | {"max_tokens": 1}),
                    ("/v1/chat/completions", talk | {"reasoning_effort": "none", "max_tokens": 1}),
                    ("/v1/responses", {"input": "hi", "reasoning": {"effort": "none"}}),
                    ("/v1/messages/count_tokens", talk | disabled),
                    ("/v1/messages", talk | disabled | {"max_tokens": 1}),
                ]
                return [(await client.post(path, json=body)).json() for path, body in asked]

    plain, counted, *answers, estimate, message = asyncio.run(go())
    assert counted["count"] > plain["count"] and estimate["input_tokens"] == counted["count"]
    usages = [one["usage"] for one in answers]
    assert [one.get("prompt_tokens", one.get("input_tokens")) for one in usages] == [counted["count"]] * 3
    read = message["usage"]
    assert read["input_tokens"] + read["cache_read_input_tokens"] == counted["count"]


def test_what_makes_no_sense_is_400(serving: Serving) -> None:
    answers = post(
        serving,
        ("/tokenize", {}),
        ("/tokenize", {"prompt": "a", "content": "b"}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [10**6]}),
        ("/detokenize", {"tokens": [5, 10**14, 5]}),
        ("/apply-template", {"messages": [], "chat_template_kwargs": {}}),
        (
            "/apply-template",
            {"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"tokenize": True}},
        ),
    )
    assert [one.status_code for one in answers] == [400] * len(answers)


def test_ids_are_put_together_in_another_process(
    serving: Serving, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tokenizer.backend.encode("the fox").ids

    def here(*_: Any, **__: Any) -> str:
        raise AssertionError("it would hold up all that is under way")

    monkeypatch.setattr(Tokenizer, "decode", here)
    echo = {"prompt": ids, "echo": True, "max_tokens": 0}
    told, echoed = post(serving, ("/detokenize", {"tokens": ids}), ("/v1/completions", echo))
    assert told.json()["prompt"] == echoed.json()["choices"][0]["text"] == "the fox"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": [1]}),
        ("/apply-template", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_what_only_looks_at_tokens_counts_as_a_request_of_its_key(
    path: str, body: dict[str, Any], serving: Serving
) -> None:
    rules = KeyRules(sha256=digest_of("alice"), requests_per_minute=2, tokens_per_day=1)
    gate = KeyedGate(Keys({"alice": rules}), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> list[int]:
        async with serving(gate=gate) as client:
            head = {"authorization": "Bearer alice"}
            return [(await client.post(path, json=body, headers=head)).status_code for _ in range(3)]

    assert asyncio.run(go()) == [200, 200, 429]


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        ("/tokenize", {"prompt": "a"}, {"prompt": "a", "content": "b"}),
        ("/tokenize", {"messages": [{"role": "user", "content": "a"}]}, {"messages": []}),
        ("/detokenize", {"tokens": [5]}, {"tokens": [-1]}),
        ("/apply-template", {"messages": [{"role": "user", "content": "a"}]}, {"messages": [{}]}),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "a"}]}, {"messages": []}),
        ("/v1/completions", {"prompt": "a", "max_tokens": 1}, {"prompt": "a", "max_tokens": -1}),
        ("/v1/embeddings", {"input": "a"}, {"input": []}),
        ("/v1/rerank", {"query": "a", "documents": ["a"]}, {"query": "a", "documents": []}),
    ],
)
def test_what_is_refused_at_sight_counts_against_no_key_at_any_endpoint(
    path: str, body: dict[str, Any], wrong: dict[str, Any], serving: Serving
) -> None:
    rules = KeyRules(sha256=digest_of("alice"), requests_per_minute=1)
    gate = KeyedGate(Keys({"alice": rules}), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def go() -> list[int]:
        async with serving(gate=gate) as client:
            head = {"authorization": "Bearer alice"}
            asked = (wrong, wrong, {"model": "none"} | body, body, body)
            return [(await client.post(path, json=one, headers=head)).status_code for one in asked]

    assert asyncio.run(go()) == [400, 400, 404, 200, 429]
