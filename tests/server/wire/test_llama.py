"""Bodies and answers of llama.cpp's own endpoints, without a server."""

from typing import Any

import msgspec
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.answer import Piece, Usage
from llmkit.server.ask import Ask, LineRule
from llmkit.server.errors import ApiError
from llmkit.server.wire.llama import LlamaRequest, llama_chunk, llama_object, read_llama
from llmkit.server.wire.sampling import WireLimits

BASE = SamplingConfig(temperature=0.8, top_k=40)


def body(**fields: Any) -> LlamaRequest:
    return msgspec.convert({"prompt": "a", **fields}, LlamaRequest)


def read(**fields: Any) -> Ask:
    return read_llama(body(**fields), BASE, WireLimits(), max_tokens=512)


def test_a_prompt_is_a_text_with_marks_or_token_ids() -> None:
    ask = read(prompt="<|im_start|>user")
    assert (ask.texts, ask.ids, ask.marks, ask.lines) == (("<|im_start|>user",), (), True, LineRule())
    assert read(prompt=[3, 4]).ids == read(prompt=[[3, 4]]).ids == ((3, 4),)


def test_numbers_that_bound_nothing_are_none_and_steps_have_their_own_names() -> None:
    ask = read(n_predict=-1, seed=-1)
    assert ask.sampling.max_tokens == 512 and not ask.seed_given
    assert ask.sampling.temperature == 0.8
    warm = read(n_predict=0, temperature=0.0, samplers=[])
    assert warm.sampling.max_tokens == 1 and warm.sampling.is_greedy
    assert read(repeat_penalty=1.1).sampling.repetition_penalty == 1.1
    assert read(samplers=["temperature", "typ_p", "xtc", "dry"]).sampling.samplers == (
        *("temperature", "typical_p"),
        "xtc_probability",
    )


def test_adapters_come_by_their_numbers_and_an_empty_list_says_nothing() -> None:
    told = read(lora=[{"id": 1, "scale": 0.5}]).lora
    assert told is not None and [(one.id, one.scale) for one in told] == [(1, 0.5)]
    assert read(lora=[]).lora is None and read().lora is None


def test_settings_of_a_llama_cpp_server_that_are_sent_back_to_it_ask_for_nothing() -> None:
    plain = {"dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "top_n_sigma": -1.0, "min_keep": 0}
    more = {"return_progress": False, "n_cmpl": 1, "typical_p": 1.0, "mirostat": 0, "grammar": ""}
    assert read(**plain, **more).sampling == read().sampling


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n_probs": -1}, "n_probs"),
        ({"dynatemp_range": 0.5}, "dynatemp_range"),
        ({"min_keep": 2}, "min_keep"),
        ({"top_n_sigma": -2}, "top_n_sigma"),
        ({"lora": [{"id": 0, "scale": 1e9}]}, "lora"),
        ({"lora": [{"id": 0, "scale": 1}] * 2}, "lora"),
        ({"samplers": ["top_k", "mirostat"]}, "samplers"),
        ({"n_indent": -1}, "n_indent"),
        ({"t_max_predict_ms": -5}, "t_max_predict_ms"),
        ({"n": 2}, "n"),
        ({"n_predict": 3, "max_tokens": 4}, "max_tokens"),
        ({"repeat_penalty": 1.1, "repetition_penalty": 1.2}, "repetition_penalty"),
        ({"top_p": 2}, "top_p"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_followed_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


USAGE = Usage(prompt_tokens=12, cached_tokens=2, completion_tokens=4)
PIECES = [Piece(0, "x\n"), Piece(0, "y", finish="stop", matched=";")]


def test_an_answer_tells_how_it_ended_and_how_long_it_took_in_llama_cpps_words() -> None:
    told = llama_object("m", PIECES, USAGE, body(), (0.5, 2.0))
    assert (told["content"], told["stop"], told["has_new_line"]) == ("x\ny", True, True)
    assert (told["stop_type"], told["stopping_word"]) == ("word", ";")
    assert [told[f"tokens_{name}"] for name in ("predicted", "evaluated", "cached")] == [4, 12, 2]
    assert told["timings"] == {
        "cache_n": 2,
        **{"prompt_n": 10, "prompt_ms": 500.0, "prompt_per_token_ms": 50.0, "prompt_per_second": 20.0},
        **{"predicted_n": 4, "predicted_ms": 2000.0},
        **{"predicted_per_token_ms": 500.0, "predicted_per_second": 2.0},
    }
    ends = {finish: llama_object("m", [Piece(0, finish=finish)], USAGE, body(), (0, 0)) for finish in _ENDS}
    assert {finish: one["stop_type"] for finish, one in ends.items()} == _ENDS


def test_the_last_event_of_a_stream_tells_of_a_text_that_it_does_not_repeat() -> None:
    told = llama_object("m", PIECES, USAGE, body(), (0.5, 2.0), streamed=True)
    assert told == llama_object("m", PIECES, USAGE, body(), (0.5, 2.0)) | {"content": ""}


_ENDS: dict[Any, str] = {"stop": "eos", "length": "limit"}


def test_fields_that_are_asked_for_come_alone_by_their_paths_and_what_is_not_there_does_not() -> None:
    names = ["content", "timings/prompt_n", "truncated", "timings/truncated", "content/x", ""]
    told = llama_object("m", PIECES, USAGE, body(response_fields=names), (0.5, 2.0))
    assert told == {"content": "x\ny", "timings/prompt_n": 10, "truncated": False}
    assert llama_object("m", PIECES, USAGE, body(response_fields=[""]), (0, 0)) == {}


def test_of_no_tokens_no_text_comes_out_and_an_event_is_one_that_goes_on() -> None:
    told = llama_object("m", PIECES, USAGE, body(n_predict=0, n_probs=1), (0, 0))
    assert told["content"] == "" and told["completion_probabilities"] == []
    assert llama_chunk(PIECES[0]) == {"index": 0, "content": "x\n", "stop": False}
