"""A text as a record: the row's own fields as they were, and the results over them."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.engine.completion import Completion
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Drawn, Request, Scored
from llmkit.formats.jsonl import encode_line, parse_line
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.generate.results import result_record
from llmkit.workflows.generate.row import Row


def _row(line: bytes, text: str | None = "a", **settings: Any) -> Row:
    return Row(Request((1, 2, 3), SamplingConfig(**settings)), parse_line(line, "f", 1).record, text)


def _record(row: Row, completion: Completion, tokenizer: Tokenizer | None = None, sample: int = 0) -> Any:
    return msgspec.json.decode(encode_line(result_record(row, completion, sample, tokenizer)))


DONE = Completion("b", (Drawn(4), Drawn(5, "length")), "length")


def test_every_other_field_passes_through_byte_for_byte() -> None:
    line = b'{"z": 1.50, "prompt": "\\u0061", "big": 123456789012345678901, "seed": 3, "usage": "old"}'
    found = encode_line(result_record(_row(line, seed=3), DONE, 0, None))
    expected = (
        b'{"z":1.50,"prompt":"\\u0061","big":123456789012345678901,"seed":3,'
        b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},'
        b'"completion":"b","finish_reason":"length"}\n'
    )
    assert found == expected


def test_the_numbers_of_samples_appear_where_there_are_several() -> None:
    assert "sample" not in _record(_row(b'{"prompt": "a"}'), DONE)
    assert _record(_row(b'{"prompt": "a"}', samples=3), DONE, sample=2)["sample"] == 2


def test_tokens_in_are_tokens_out() -> None:
    bare = _record(_row(b'{"tokens": [1, 2, 3]}', text=None), Completion(None, DONE.drawn, "length"))
    assert bare["completion_ids"] == [4, 5] and "completion" not in bare
    spelled = _record(_row(b'{"tokens": [1, 2, 3]}', text=None), DONE)
    assert spelled["completion_ids"] == [4, 5] and spelled["completion"] == "b"
    assert "completion_ids" not in _record(_row(b'{"prompt": "a"}'), DONE)


@pytest.fixture
def tokenizer(shared_data: Path) -> Tokenizer:
    return load_tokenizer(shared_data / "tokenizers/gpt2")


def test_logprobs_spell_each_token_and_give_the_bytes_of_part_of_a_character(tokenizer: Tokenizer) -> None:
    space_the, half = tokenizer.encode(" the")[0], tokenizer.encode("🙂")[0]
    drawn = Drawn(half, "length", Scored(half, -0.5), (Scored(space_the, -0.25), Scored(half, -0.5)))
    (found,) = _record(_row(b'{"prompt": "a"}', logprobs=2), Completion("", (drawn,), "length"), tokenizer)[
        "logprobs"
    ]
    content = list("🙂".encode()[: len(tokenizer.token_bytes(half))])
    assert found["top"][0] == {"id": space_the, "text": " the", "logprob": -0.25}
    assert found["top"][1] == {"id": half, "text": "\ufffd", "logprob": -0.5, "bytes": content}
    assert {key: found[key] for key in ("id", "logprob", "bytes")} == {
        **{"id": half, "logprob": -0.5, "bytes": content}
    }


def test_without_a_tokenizer_logprobs_have_ids_alone() -> None:
    drawn = Drawn(4, "length", Scored(4, -0.5), (Scored(4, -0.5),), entropy_bits=1.25, rank=1, margin=0.25)
    row = _row(b'{"tokens": [1]}', text=None, logprobs=1)
    found = _record(row, Completion(None, (drawn,), "length"))["logprobs"]
    top = [{"id": 4, "logprob": -0.5}]
    figures = {"surprisal_bits": 0.5 / math.log(2), "entropy_bits": 1.25, "rank": 1, "margin": 0.25}
    assert found == [{"id": 4, "logprob": -0.5, **figures, "top": top}]


def test_a_probability_of_zero_is_null_and_never_a_number_json_lacks() -> None:
    drawn = Drawn(4, "length", Scored(4, float("-inf")), ())
    line = encode_line(result_record(_row(b"{}", logprobs=0), Completion("b", (drawn,), "length"), 0, None))
    assert json.loads(line, parse_constant=pytest.fail)["logprobs"][0]["logprob"] is None
