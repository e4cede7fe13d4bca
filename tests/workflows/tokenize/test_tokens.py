"""Tokens as a result, laid out by hand: ids 0 to 255 are the bytes of the text."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel

from llmkit.errors import UsageError
from llmkit.formats.documents import Document
from llmkit.formats.jsonl import read_records
from llmkit.formats.token_documents import token_document as read_back
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.run import Run
from llmkit.workflows.tokenize.tokens import (
    token_document,
    write_ids,
    write_offsets,
    write_pieces,
    write_raw,
    write_token_documents,
)

MakeRun = Callable[..., Run]
ODD = "tab\there"  # an id that a row of tabs must not be torn by


def _bytes(run: Run) -> bytes:
    content: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
    return content


def _record(text: str, content: str, identity: str = "d") -> Document:
    return Document(identity, text, "d.jsonl", 3, msgspec.json.decode(content, type=dict[str, msgspec.Raw]))


@pytest.mark.parametrize(
    ("row_format", "expected"),
    [
        (None, "256 195 169\n256\n"),
        ("tsv", "256\t195\t169\n256\n"),
        ("jsonl", '{"id":"0.txt","tokens":[256,195,169]}\n{"id":"1.txt","tokens":[256]}\n'),
    ],
)
def test_ids_are_a_document_a_line(make_run: MakeRun, row_format: str | None, expected: str) -> None:
    run = make_run("é", "", mode="ids", row_format=row_format, bos=True)
    write_ids(run)
    assert _bytes(run).decode() == expected


def test_pieces_are_as_the_vocabulary_stores_them(make_run: MakeRun) -> None:
    run = make_run("é b", mode="pieces", eos=True)
    write_pieces(run)
    assert _bytes(run).decode() == "Ã © Ġ b <|endoftext|>\n"
    run = make_run("é", mode="pieces", row_format="jsonl")
    write_pieces(run)
    assert json.loads(_bytes(run)) == {"id": "0.txt", "pieces": ["Ã", "©"]}
    run = make_run(Document(ODD, '"\t', "f", 1), mode="pieces", row_format="tsv")
    write_pieces(run)
    assert _bytes(run).decode() == 'tab\\there\t0\t34\t"\\""\ntab\\there\t1\t9\t"ĉ"\n'


def test_offsets_are_byte_and_character_ranges_and_the_text_there(make_run: MakeRun) -> None:
    run = make_run("aé\n", mode="offsets", bos=True, eos=True)
    write_offsets(run)
    assert _bytes(run).decode() == (
        '256\t0\t0\t0\t0\t""\n'
        '97\t0\t1\t0\t1\t"a"\n'
        '195\t1\t2\t1\t2\t"é"\n'
        '169\t2\t3\t1\t2\t"é"\n'
        '10\t3\t4\t2\t3\t"\\n"\n'
        '256\t4\t4\t3\t3\t""\n'
    )


def test_offsets_of_several_documents_name_them(make_run: MakeRun) -> None:
    documents = [Document(ODD, "a", "f", 1), Document("b", "", "f", 2), Document("c", "z", "f", 3)]
    run = make_run(*documents, mode="offsets", row_format="tsv")
    write_offsets(run)
    assert _bytes(run).decode() == 'tab\\there\t97\t0\t1\t0\t1\t"a"\nc\t122\t0\t1\t0\t1\t"z"\n'
    run = make_run(*documents[:2], mode="offsets", row_format="jsonl")
    write_offsets(run)
    assert [json.loads(line) for line in _bytes(run).splitlines()] == [
        {"id": ODD, "tokens": [97], "byte_offsets": [[0, 1]], "char_offsets": [[0, 1]]},
        {"id": "b", "tokens": [], "byte_offsets": [], "char_offsets": []},
    ]


@pytest.mark.parametrize(("raw_type", "flag"), [("u2", "-tu2"), ("u4", "-tu4")])
def test_a_raw_stream_is_what_od_reads(make_run: MakeRun, tmp_path: Path, raw_type: str, flag: str) -> None:
    run = make_run("hé", "x", mode="raw", raw_type=raw_type, eos=True)
    write_raw(run)
    (tmp_path / "ids").write_bytes(_bytes(run))
    shown = subprocess.run(
        ["od", "-An", "--endian=little", flag, tmp_path / "ids"], capture_output=True, text=True, check=True
    )
    assert [int(word) for word in shown.stdout.split()] == [*"hé".encode(), 256, *b"x", 256]


def test_two_bytes_hold_65536_ids_and_not_one_more(make_run: MakeRun) -> None:
    def words(count: int) -> Tokenizer:
        return Tokenizer(
            Backend(WordLevel({f"w{number}": number for number in range(count)}, unk_token="w0"))
        )

    run = make_run("w65535", tokenizer=words(1 << 16), mode="raw")
    write_raw(run)
    assert np.frombuffer(_bytes(run), "<u2").tolist() == [65535]
    larger = words((1 << 16) + 1)
    with pytest.raises(UsageError, match="65,537 ids do not fit 2 bytes") as caught:
        write_raw(make_run("w65536", tokenizer=larger, mode="raw"))
    assert caught.value.hint == "--raw u4"
    run = make_run("w65536", tokenizer=larger, mode="raw", raw_type="u4")
    write_raw(run)
    assert np.frombuffer(_bytes(run), "<u4").tolist() == [65536]


@pytest.mark.parametrize(
    ("document", "config", "line"),
    [
        (Document("f.txt", "hi", "f.txt", 0), {}, '{"id":"f.txt","tokens":[104,105]}'),
        (
            Document("f.txt", "hi", "f.txt", 0),
            {"keep_text": True},
            '{"id":"f.txt","text":"hi","tokens":[104,105]}',
        ),
        (
            _record("hi", '{"n": 1.50, "text": "hi", "id": 7}', "7"),
            {},
            '{"id":7,"n":1.50,"tokens":[104,105]}',
        ),
        (
            _record("hi", '{"text": "h\\u0069", "n": 1}'),
            {"keep_text": True},
            '{"id":"d","text":"h\\u0069","n":1,"tokens":[104,105]}',
        ),
        (
            _record("hi", '{"text": 5, "body": "hi"}'),
            {"field": "body"},
            '{"id":"d","text":5,"tokens":[104,105]}',
        ),
        (_record("<|im_end|>", '{"messages": [], "s": 1}'), {}, '{"id":"d","s":1,"tokens":[258]}'),
        (
            _record("<|im_end|>", '{"messages": []}'),
            {"keep_text": True, "eos": True},
            '{"id":"d","messages":[],"tokens":[258,256]}',
        ),
    ],
)
def test_a_token_document_has_all_of_its_record_but_the_text(
    make_run: MakeRun, document: Document, config: dict[str, object], line: str
) -> None:
    run = make_run(document, mode="jsonl", **config)
    write_token_documents(run)
    assert _bytes(run).decode() == line + "\n"


def test_what_is_written_is_what_pack_reads(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("é", _record("x", '{"id": "r", "text": "x"}', "r"), mode="jsonl", eos=True)
    write_token_documents(run)
    (tmp_path / "t.jsonl").write_bytes(_bytes(run))
    first, second = map(read_back, read_records(tmp_path / "t.jsonl"))
    assert (first.id, first.tokens.tolist(), first.mask) == ("0.txt", [0xC3, 0xA9, 256], None)
    assert (second.id, second.tokens.tolist()) == ("r", [ord("x"), 256])


def test_the_record_that_was_read_is_not_changed(make_run: MakeRun) -> None:
    document = _record("hi", '{"text": "hi"}')
    run = make_run(mode="jsonl")
    made = token_document(run, document, np.array([1], np.uint32))
    assert (made.record, made.where, list(document.record)) == ({}, "d.jsonl:3", ["text"])
