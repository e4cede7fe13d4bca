"""How far a text is, in llama.cpp's words."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.server.wire.slots import text_slot


def text(drawn: int, computed: int) -> Any:
    sampling = SamplingConfig(max_tokens=20, repetition_penalty=1.5, stop=("a",), seed=3, logprobs=2)
    request = SimpleNamespace(sampling=sampling, prompt=tuple(range(10)))
    return SimpleNamespace(number=4, request=request, drawn=drawn, computed=computed, from_cache=6, room=20)


@pytest.mark.parametrize(
    ("drawn", "computed", "read", "left"), [(0, 6, 0, 20), (0, 8, 2, 20), (5, 14, 4, 15), (20, 29, 4, 0)]
)
def test_of_a_prompt_what_was_computed_and_what_was_found_are_told_apart(
    drawn: int, computed: int, read: int, left: int
) -> None:
    told = msgspec.to_builtins(text_slot(1, text(drawn, computed), context=99, speculative=True))
    assert (told["id"], told["id_task"], told["n_ctx"], told["speculative"]) == (1, 4, 99, True)
    assert told["n_prompt_tokens"] == 10 and told["n_prompt_tokens_cache"] == 6
    assert told["n_prompt_tokens_processed"] == read
    assert told["next_token"] == [{"has_next_token": left > 0, "n_remain": left, "n_decoded": drawn}]


def test_settings_are_told_and_a_clients_own_words_are_not() -> None:
    told = msgspec.to_builtins(text_slot(1, text(1, 10), context=99, speculative=False))
    wanted = {"n_predict": 20, "seed": 3, "repeat_penalty": 1.5, "n_probs": 2}
    assert {name: told["params"][name] for name in wanted} == wanted
    assert not {"stop", "dry_sequence_breakers", "prompt"} & told["params"].keys()
