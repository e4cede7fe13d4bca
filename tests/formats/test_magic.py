"""What bytes say of a file, against those that other programs write."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import torch
import zstandard

from llmkit.formats.magic import ARROW_FILE, ARROW_STREAM, PARQUET, PICKLE, ZIP, begins_html, compression_in


def test_compression_is_known_by_what_the_compressors_write() -> None:
    assert compression_in(zstandard.compress(b"text")[:4]) == "zstd"
    assert compression_in(gzip.compress(b"text")[:4]) == "gzip"


@pytest.mark.parametrize("kind", range(16))
def test_a_skippable_frame_of_any_kind_is_zstd(kind: int) -> None:
    assert compression_in((0x184D2A50 + kind).to_bytes(4, "little")) == "zstd"


@pytest.mark.parametrize("head", [b"", b"\x1f", b"\x28\xb5\x2f", b"\x60\x2a\x4d\x18", b"{\x2a\x4d\x18"])
def test_what_only_looks_like_it_is_not_compressed(head: bytes) -> None:
    assert compression_in(head) is None


def test_tables_begin_as_pyarrow_writes_them(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import ipc, parquet

    table = pyarrow.table({"text": ["a"]})
    for make, magic in ((ipc.new_file, ARROW_FILE), (ipc.new_stream, ARROW_STREAM)):
        sink = io.BytesIO()
        with make(sink, table.schema) as writer:
            writer.write(table)
        assert sink.getvalue().startswith(magic)
    parquet.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes().startswith(PARQUET)


def test_checkpoints_of_pytorch_begin_as_a_zip_or_as_a_pickle() -> None:
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({}, new)
    torch.save({}, old, _use_new_zipfile_serialization=False)
    assert new.getvalue().startswith(ZIP) and zipfile.is_zipfile(new)
    assert old.getvalue().startswith(PICKLE)


@pytest.mark.parametrize("head", [b"<!DOCTYPE html>", b"<!doctype\n HTML PUBLIC", b"<HTML lang=x", b"<head>"])
def test_a_page_begins_with_its_doctype_or_its_outermost_tags(head: bytes) -> None:
    assert begins_html(head)


@pytest.mark.parametrize(
    "head", [b"", b"<html", b"<header>", b"<htmlx>", b"<p>", b"<!doctype svg>", b"html>"]
)
def test_what_only_begins_like_a_page_is_none(head: bytes) -> None:
    assert not begins_html(head)
