"""llama.cpp's own endpoints over HTTP."""

import asyncio
import json
from typing import Any

import pytest

from llmkit.tokens.tokenizer import Tokenizer
from tests.server.conftest import Serving

PATH = "/infill"
GAP: dict[str, Any] = {"input_prefix": "the quick", "input_suffix": " dog", "seed": 3, "n_predict": 12}
GREEDY = {"temperature": 0, "ignore_eos": True}


def post(serving: Serving, *asked: tuple[str, dict[str, Any]], **settings: Any) -> list[Any]:
    async def go() -> list[Any]:
        async with serving(**settings) as client:
            return [await client.post(path, json=body) for path, body in asked]

    return asyncio.run(go())


def test_a_gap_is_filled_as_the_completion_with_a_suffix_fills_it(serving: Serving) -> None:
    completion = {"prompt": "the quick", "suffix": " dog", "max_tokens": 12}
    asked = {"input_prefix": "the ", "prompt": "quick", "input_suffix": " dog", "n_predict": 12}
    ours, theirs = post(serving, (PATH, asked | GREEDY), ("/v1/completions", completion | GREEDY))
    told, (choice,) = ours.json(), theirs.json()["choices"]
    assert told["content"] == choice["text"] and told["stop_type"] == "limit"
    usage = theirs.json()["usage"]
    assert (told["tokens_evaluated"], told["tokens_predicted"]) == (usage["prompt_tokens"], 12)
    timings = told["timings"]
    assert timings["predicted_n"] == 12 and timings["prompt_ms"] > 0 and timings["predicted_ms"] >= 0


def test_a_stream_has_the_same_text_and_ends_with_how_it_ended(serving: Serving) -> None:
    whole, stream = post(serving, (PATH, GAP), (PATH, GAP | {"stream": True}))
    events = [json.loads(line.removeprefix("data: ")) for line in stream.text.split("\n\n") if line]
    assert "".join(one["content"] for one in events) == whole.json()["content"] != ""
    assert [one["stop"] for one in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["tokens_predicted"] == 12 and events[-1]["timings"]["predicted_n"] == 12
    (few,) = post(serving, (PATH, GAP | {"stream": True, "response_fields": ["tokens_predicted"]}))
    assert few.text.endswith('\n\ndata: {"stop":true,"tokens_predicted":12}\n\n')


def test_a_prompt_is_only_read_where_nothing_is_to_be_predicted(serving: Serving) -> None:
    nothing = GAP | {"n_predict": 0, "samplers": [], "temperature": 0.0}
    fields, first, streamed = post(
        serving,
        (PATH, nothing | {"response_fields": [""]}),
        (PATH, nothing),
        (PATH, nothing | {"stream": True}),
    )
    assert fields.json() == {} and first.json()["content"] == "" and first.json()["tokens_evaluated"] > 5
    assert streamed.text.count("data: ") == 1 and '"content":""' in streamed.text


def test_lines_end_a_text(serving: Serving) -> None:
    asked = GAP | {"n_predict": 20, "choice": ["  a\n  b\n c\n  d"]}
    free, held = post(serving, (PATH, asked), (PATH, asked | {"n_indent": 2}))
    assert free.json()["content"] == "  a\n  b\n c\n  d" and free.json()["stop_type"] == "eos"
    assert held.json()["content"] == "  a\n  b\n " and held.json()["stop_type"] == "limit"


def test_a_stream_says_in_the_end_whether_there_were_several_lines(serving: Serving) -> None:
    asked = [
        GAP | {"choice": [text], "stream": stream} for text in ("a\nb", "ab") for stream in (False, True)
    ]
    told = [one.text.strip().split("\n\n")[-1] for one in post(serving, *((PATH, one) for one in asked))]
    found = [json.loads(one.removeprefix("data: "))["has_new_line"] for one in told]
    assert found == [True, True, False, False]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input_suffix": "x" * 400}, "input_prefix"),  # both sides and the answer share the context
        ({"n_probs": 21}, "n_probs"),
        ({"return_tokens": True}, "return_tokens"),
        ({"input_extra": [{"filename": "a"}]}, "input_extra[0].text"),
        ({"input_prefix": None}, "input_prefix"),
        ({"n_predictt": 3}, "n_predictt"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(
    more: dict[str, Any], param: str, serving: Serving
) -> None:
    (answer,) = post(serving, (PATH, GAP | more))
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_probabilities_are_those_of_completions_in_one_piece_and_streamed(serving: Serving) -> None:
    asked = {"prompt": "the fox", "seed": 5, "ignore_eos": True}
    openai, whole, streamed, none = post(
        serving,
        ("/v1/completions", asked | {"max_tokens": 9, "logprobs": 3}),
        ("/completion", asked | {"n_predict": 9, "n_probs": 3}),
        ("/completion", asked | {"n_predict": 9, "n_probs": 3, "stream": True}),
        ("/completion", asked | {"n_predict": 9, "n_probs": 0}),
    )
    columns = openai.json()["choices"][0]["logprobs"]
    told = whole.json()["completion_probabilities"]
    assert [one["logprob"] for one in told] == columns["token_logprobs"] and len(told) == 9
    assert [one["token"] for one in told] == columns["tokens"]
    for row, top in zip(told, columns["top_logprobs"], strict=True):
        best = [one["logprob"] for one in row["top_logprobs"]]
        assert len(best) == 3 and best == sorted(best, reverse=True)
        assert set(top.values()) <= {*best, row["logprob"]}  # parts of characters have one name there
    spelled = b"".join(bytes(one["bytes"]) for one in told)
    assert spelled.decode(errors="replace") == whole.json()["content"]
    events = [json.loads(one.removeprefix("data: ")) for one in streamed.text.strip().split("\n\n")]
    assert [row for one in events for row in one.get("completion_probabilities", [])] == told
    assert "completion_probabilities" not in events[-1] and "completion_probabilities" not in none.json()


def test_marks_in_a_prompt_of_completion_are_those_of_a_chat(serving: Serving) -> None:
    said = [{"role": "user", "content": "the fox"}]
    text = "<|im_start|>user\nthe fox<|im_end|>\n<|im_start|>assistant\n"
    chat, ours, plain = post(
        serving,
        ("/v1/chat/completions", {"messages": said, "max_tokens": 9, **GREEDY}),
        ("/completion", {"prompt": text, "n_predict": 9, **GREEDY}),
        ("/v1/completions", {"prompt": text, "max_tokens": 9, **GREEDY}),
    )
    assert ours.json()["content"] == chat.json()["choices"][0]["message"]["content"]
    read = ours.json()["tokens_evaluated"]
    assert read == chat.json()["usage"]["prompt_tokens"] < plain.json()["usage"]["prompt_tokens"]


def test_what_ends_a_turn_ends_a_completion_with_marks(serving: Serving, tokenizer: Tokenizer) -> None:
    end = tokenizer.id_of("<|im_end|>")
    assert end is not None
    forced = {"prompt": "a", "n_predict": 5, "temperature": 0, "logit_bias": {str(end): 1000}}
    (answer,) = post(serving, ("/completion", forced), turn_end=end)
    assert (answer.json()["stop_type"], answer.json()["tokens_predicted"]) == ("eos", 1)


def test_a_completion_takes_ids_and_streams(serving: Serving) -> None:
    asked = {"prompt": [70, 71], "n_predict": 6, **GREEDY}
    theirs = {"prompt": [70, 71], "max_tokens": 6, **GREEDY}
    whole, stream, plain = post(
        serving,
        ("/completion", asked),
        ("/completion", asked | {"stream": True}),
        ("/v1/completions", theirs),
    )
    events = [json.loads(line.removeprefix("data: ")) for line in stream.text.split("\n\n") if line]
    assert "".join(one["content"] for one in events) == whole.json()["content"]
    assert whole.json()["content"] == plain.json()["choices"][0]["text"]
