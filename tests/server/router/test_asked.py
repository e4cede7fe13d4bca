"""A router reads of a body what it needs to place it, and no more."""

import json
from typing import Any

import pytest

from llmkit.server.errors import ApiError
from llmkit.server.router.asked import read_asked


def asked(**body: Any) -> Any:
    return read_asked(json.dumps(body).encode())


def test_answers_are_prompts_times_samples_and_ids_are_counted() -> None:
    one = asked(prompt=[[1, 2, 3], [4]], n=3)
    assert (one.prompt_tokens, one.answers) == (4, 6)
    assert asked(prompt=[1, 2, 3]).prompt_tokens == 3
    assert (asked(input=[1, 2, 3]).prompt_tokens, asked(input=[[1, 2], [3]]).prompt_tokens) == (3, 3)
    assert asked(prompt="x" * 4000).prompt_tokens == pytest.approx(1000, rel=0.05)


def test_a_whole_number_with_a_point_counts_as_for_the_worker() -> None:
    one, two = (
        asked(prompt=[[kind(5)] * 3, [kind(4)]], n=kind(16), max_tokens=kind(7)) for kind in (int, float)
    )
    for other in (one, two):
        assert (other.prompt_tokens, other.prompts, other.answers) == (4, 2, 32)
        assert other.max_tokens("/v1/completions", 100) == 32 * 7
    assert (asked(prompt=[5.0, 6, 7.0]).prompt_tokens, asked(prompt=[5.0, 6, 7.0]).prompts) == (3, 1)
    assert asked(input=[5.0] * 100).prompt_tokens == 100
    assert (
        asked(prompt="x", n=16.5).answers == asked(prompt="x", n=-2.0).answers == 1
    )  # which a worker refuses


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [
        ("/v1/completions", {"prompt": [1] * 10}, 16),
        ("/v1/completions", {"prompt": [1] * 10, "max_tokens": 50, "n": 2}, 100),
        ("/v1/chat/completions", {"prompt": [1] * 10}, 90),
        ("/v1/chat/completions", {"prompt": [1] * 10, "max_completion_tokens": 5}, 5),
        ("/v1/responses", {"prompt": [1] * 10, "max_output_tokens": 500}, 90),
        ("/v1/completions", {"prompt": [1] * 10, "max_tokens": -4}, 0),
        ("/v1/completions", {"prompt": [[1] * 60] * 3, "max_tokens": 50, "n": 2}, 6 * 40),
        ("/v1/completions", {"prompt": [[1] * 40] * 5, "max_tokens": 50}, 5 * 50),
        ("/v1/embeddings", {"input": "a text"}, 0),
        ("/infill", {"input_prefix": "a", "n_predict": 7}, 7),
        ("/completion", {"prompt": [1] * 10}, 90),
        ("/infill", {"input_prefix": "", "n_predict": -1}, 100 - asked(input_prefix="").prompt_tokens),
        ("/v2/rerank", {"query": "a", "documents": ["a text"]}, 0),
    ],
)
def test_what_it_may_come_to_is_bounded_by_the_context(path: str, body: dict[str, Any], most: int) -> None:
    assert asked(**body).max_tokens(path, 100) == most


def test_a_conversation_is_the_same_as_it_goes_on() -> None:
    first = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    later = [*first, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "more"}]
    other = [first[0], {"role": "user", "content": "ho"}]
    names = [asked(messages=one).conversation for one in (first, later, other)]
    assert names[0] == names[1] != names[2]
    assert asked(messages=other, user="u").conversation == asked(messages=first, user="u").conversation


def test_a_user_is_found_in_the_words_of_either_client() -> None:
    assert asked(user="u").user == asked(safety_identifier="u").user == "u"
    assert asked(metadata={"user_id": "u"}).user == "u"
    assert asked(user=3, metadata=[]).user == asked().user == ""


def test_prompts_that_begin_alike_share_their_first_prefixes() -> None:
    begin = [{"role": "system", "content": "x" * 2000}]
    one, two = (asked(messages=[*begin, {"role": "user", "content": text * 3000}]) for text in "ab")
    shared = [first == second for first, second in zip(one.prefixes(""), two.prefixes(""), strict=True)]
    assert shared == [True, True, False]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model": 3}', b'{"stream": "yes"}', b"[" * 9999, b'{"a": "\\ud800"}']
)
def test_a_body_that_cannot_be_placed_is_400(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        read_asked(body)
    assert caught.value.status == 400


def test_what_a_worker_must_be_told_too_changes_nothing_else() -> None:
    one = asked(prompt="x", seed=1)
    assert json.loads(one.encoded({"model": "m"})) == {"prompt": "x", "seed": 1, "model": "m"}
