"""What stdin holds, by its first bytes."""

import io

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.stdin_kind import kind_of_pipe, kind_of_stdin
from tests.formats.test_streams import Dripping


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"text": "a"}\n', "jsonl"),
        (b'\xef\xbb\xbf \n{"text": "a"}\n', "jsonl"),
        (b"some text", "text"),
        (b"\xef\xbb\xbfsome text", "text"),
        (b"[1, 2]", "text"),
        (b"[", "text"),
        (b"[{{ name }}]", "text"),
        (b"PAR", "text"),
        (b"WARC/", "text"),
        (b"<!doctype html><p>", "text"),
        (b"<", "text"),
        (b" \n\n", "blank"),
        (b"\xef\xbb\xbf", "blank"),
        (b"", "empty"),
    ],
)
def test_the_first_bytes_say_what_it_is_and_stay_there(content: bytes, kind: str) -> None:
    for raw in (io.BytesIO(content), Dripping(content)):
        found, stream = kind_of_stdin(io.BufferedReader(raw))
        assert found == kind
        assert stream.read() == content


def test_parquet_is_refused_in_words_that_help() -> None:
    for raw in (io.BytesIO(b"PAR1\x15\x04"), Dripping(b"PAR1\x15\x04")):
        with pytest.raises(UsageError, match="stdin: parquet cannot be piped") as caught:
            kind_of_stdin(io.BufferedReader(raw))
        assert caught.value.hint == "name the file"


def test_a_warc_file_is_no_text_however_slowly_it_comes() -> None:
    for content in (b"WARC/1.0\r\nWARC-Type: ", b"WARC/1.1\r\n"):
        for raw in (io.BytesIO(content), Dripping(content)):
            kind, stream = kind_of_pipe(io.BufferedReader(raw))
            assert kind == "warc" and stream.read() == content
        with pytest.raises(DataError, match="stdin: a WARC file: pages in their envelopes") as caught:
            kind_of_stdin(io.BufferedReader(io.BytesIO(content)))
        assert caught.value.hint == "llmkit clean - makes documents of its pages"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<p>a", "html"),
        (b"\xef\xbb\xbf\n <html lang='fi'><p>a", "html"),
        (b"<head/>", "html"),
        (b"<!doctype" + b" " * 14 + b"html>", "text"),
        (b"<header>a", "text"),
        (b"<html", "text"),
    ],
)
def test_a_page_of_html_is_one_however_slowly_it_comes(content: bytes, kind: str) -> None:
    for raw in (io.BytesIO(content), Dripping(content)):
        found, stream = kind_of_pipe(io.BufferedReader(raw))
        assert found == kind and stream.read() == content


@pytest.mark.parametrize("content", [b'[{"text": "a"}]\n', b'\xef\xbb\xbf[\n  {\n    "id": 1, "text": "a"'])
def test_one_array_of_records_is_refused_however_slowly_it_comes(content: bytes) -> None:
    for raw in (io.BytesIO(content), Dripping(content)):
        with pytest.raises(DataError, match="stdin: one JSON array"):
            kind_of_stdin(io.BufferedReader(raw))


@pytest.mark.parametrize("content", [b"[]", b'[{"id": 1, "name": "a"}]\n', b"[{}]", b'[{"id": 1'])
def test_any_other_array_is_text_however_slowly_it_comes(content: bytes) -> None:
    for raw in (io.BytesIO(content), Dripping(content)):
        kind, stream = kind_of_stdin(io.BufferedReader(raw))
        assert kind == "text" and stream.read() == content
