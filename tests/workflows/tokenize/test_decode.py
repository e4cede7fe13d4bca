"""Ids back to text: exact in every form they come in, a record stays a record, and wrong ones are named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import BadLine
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.decode import decode_lines, exact_bytes
from llmkit.workflows.tokenize.run import Run


@pytest.fixture
def decoded(make_run: Callable[..., Run], tmp_path: Path) -> Callable[..., bytes]:
    """What comes of a file of ids; ids 0 to 255 are bytes."""

    def call(content: bytes, *, raw_input: bool = False, on_bad: object = None, **config: object) -> bytes:
        (tmp_path / "ids").write_bytes(content)
        run = make_run(mode="decode", **config)
        decode_lines(run, [tmp_path / "ids"], raw_input=raw_input, on_bad=on_bad)  # type: ignore[arg-type]
        text: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
        call.totals = run.totals  # type: ignore[attr-defined]
        return text

    return call


@pytest.mark.parametrize(
    "line", [b"104 195 169", b"104, 195,169", b"  104\t195   169  ", b"[104, 195, 169]", b"[104,195,169]"]
)
def test_ids_between_spaces_commas_or_as_a_list_are_the_same(
    decoded: Callable[..., bytes], line: bytes
) -> None:
    assert decoded(line) == decoded(b"\n" + line + b"\r\n\n") == "hé".encode()


def test_lines_stand_end_to_end_so_that_texts_come_back_exactly(decoded: Callable[..., bytes]) -> None:
    assert decoded(b"97 10\n98\n256\n") == b"a\nb<|endoftext|>"
    totals = decoded.totals  # type: ignore[attr-defined]
    assert (totals.documents, totals.tokens, totals.bytes) == (3, 4, len("a\nb<|endoftext|>"))


def test_a_record_stays_a_record_without_its_ids(decoded: Callable[..., bytes]) -> None:
    record = b'{"n": 1.50, "tokens": [104, 105], "id": 7, "mask": [[0, 1]], "x": {"a":  "\\u00e9"}}\n'
    assert decoded(record) == b'{"n":1.50,"id":7,"x":{"a":  "\\u00e9"},"text":"hi"}\n'
    assert decoded(record, row_format="text") == b"hi"
    assert decoded(record, field="body").endswith(b'"body":"hi"}\n')
    assert decoded(b'{"tokens": [104, 105]}\n') == b'{"text":"hi"}\n'


def test_lines_of_numbers_can_become_records(decoded: Callable[..., bytes]) -> None:
    lines = decoded(b"104 105\n\n[33]\n", row_format="jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [{"text": "hi"}, {"text": "!"}]


@pytest.mark.parametrize("raw_type", ["u2", "u4"])
def test_a_raw_stream_is_one_text(decoded: Callable[..., bytes], raw_type: str) -> None:
    stream = np.array([*"naïve".encode(), 256], f"<{raw_type}").tobytes()
    assert decoded(stream, raw_input=True, raw_type=raw_type) == "naïve<|endoftext|>".encode()
    assert decoded(b"", raw_input=True, raw_type=raw_type) == b""
    with pytest.raises(
        DataError, match=rf"{len(stream) - 1} bytes are no whole number of {raw_type[1]}-byte"
    ):
        decoded(stream[:-1], raw_input=True, raw_type=raw_type)


def test_ids_that_stop_inside_a_character_are_bytes_as_text_and_an_error_as_json(
    decoded: Callable[..., bytes],
) -> None:
    # 🙂 is F0 9F 99 82; as two lines its halves join again
    assert decoded(b"97 240 159\n153 130\n") == "a🙂".encode()
    with pytest.raises(DataError, match=r"ids:2: the ids stop inside a character \(byte 1 of their text\)"):
        decoded(b"33\n97 240 159\n", row_format="jsonl")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"1 259", r"ids:2: no token 259 in this tokenizer \(found 259 ids\)"),
        (b"-1", r"ids:2: no token -1 in this tokenizer"),
        (b"1 2.5", r"ids:2: not ids \(found: 1 2\.5\)"),
        (b"[1, [2]]", r"ids:2: not ids"),
        (b"one", r"ids:2: not ids \(found: one\)"),
        (b'{"text": "a"}', r'ids:2: no "tokens" field \(found: text\)'),
        (b'{"tokens": [1', r"ids:2: not a JSON object"),
    ],
)
def test_what_is_no_id_is_an_error_that_names_its_line(
    decoded: Callable[..., bytes], line: bytes, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        decoded(b"33\n" + line + b"\n34\n")


def test_malformed_lines_can_be_passed_over(decoded: Callable[..., bytes]) -> None:
    bad: list[BadLine] = []
    assert decoded(b"104\none\n105\n", on_bad=bad.append) == b"hi"
    assert [(one.number, one.content, one.problem) for one in bad] == [(2, b"one\n", "not ids (found: one)")]


@pytest.mark.parametrize("text", ["a\ufffdb", "\ufffd", " a\ufffd", "  \ufffd  x", "\n\ufffd", "日\ufffd本"])
def test_a_text_that_has_the_replacement_character_itself_comes_back(
    text: str, byte_tokenizer: Tokenizer, shared_data: Path
) -> None:
    # SentencePiece puts a space before a text, which is no part of it
    for tokenizer in (byte_tokenizer, load_tokenizer(shared_data / "tokenizers" / "llama2")):
        assert exact_bytes(tokenizer, tokenizer.encode(text)).decode() == text


def test_half_a_character_of_a_tokenizer_with_byte_pieces_is_its_byte(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "llama2")
    ids = tokenizer.encode("x🙂")
    assert tokenizer.decode(ids) == "x🙂"
    assert [exact_bytes(tokenizer, ids[:count]) for count in range(1, len(ids) + 1)][-5:] == [
        "x🙂".encode()[:count] for count in (1, 2, 3, 4, 5)
    ]
