"""Keys that look like settings are told of, and those that only stand in rows are not."""

from typing import Any

import msgspec
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.formats.jsonl import raw
from llmkit.workflows.generate.near_keys import NearKeys
from llmkit.workflows.generate.overrides import OVERRIDES
from llmkit.workflows.generate.row import Row


def _notes(*keys: str) -> tuple[str, ...]:
    rows = [Row(Request((1,), SamplingConfig()), {key: raw(1)}) for key in keys]
    near = NearKeys()
    assert list(near.watched(rows)) == rows
    return near.notes


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("max_token", "max_tokens"), ("maxTokens", "max_tokens"), ("top-p", "top_p"), ("topk", "top_k")),
        *(("Temperature", "temperature"), ("temprature", "temperature"), ("stops", "stop")),
        *(("frequency_penality", "frequency_penalty"), ("repeat_penalty", "repetition_penalty")),
        *(("n_predict", "max_tokens"), ("num_predict", "max_tokens"), ("max_new_tokens", "max_tokens")),
        *(("max_completion_tokens", "max_tokens"), ("temp", "temperature"), ("typ_p", "typical_p")),
        *(("num_return_sequences", "samples"), ("stop_token_ids", "stop_ids"), ("n_probs", "logprobs")),
        *(("response_format", "json_schema"), ("guided_json", "json_schema"), ("guided_regex", "regex")),
        *(("guided_choice", "choice"), ("guided_grammar", "grammar")),
    ],
)
def test_a_setting_by_another_name_is_told_of_once(key: str, meant: str) -> None:
    (note,) = _notes(key, "id", key)
    assert note.startswith(f'"{key}" in rows sets nothing') and note.endswith(f'"{meant}"?')


@pytest.mark.parametrize(
    "key",
    [
        *(
            "id",
            "text",
            "prompt",
            "messages",
            "tokens",
            "prefill",
            "adapter",
            "tools",
            "meta",
            "source",
            "url",
        ),
        *(
            "completion",
            "num_tokens",
            "finish_reason",
            "sample",
            "samples_of",
            "predict",
            "n_tokens",
            "label",
            "answer",
            "n",
            "score",
        ),
        *("reference", "question", "choices", "index", "x" * 10_000, *OVERRIDES),
    ],
)
def test_other_keys_are_none_of_its_business(key: str) -> None:
    assert _notes(key) == ()


def test_generate_says_it_and_goes_on(llmkit_run: Any, spelled_model: Any) -> None:
    row = msgspec.json.encode({"prompt": "a", "max_token": 1})
    done = llmkit_run("generate", "-m", spelled_model(), "--jsonl", "-", "--max-tokens", 3, stdin=row + b"\n")
    assert done.status == 0 and done.err.count('did you mean "max_tokens"?') == 1
    assert msgspec.json.decode(done.out)["max_token"] == 1
