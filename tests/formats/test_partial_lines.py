"""What a stopped run leaves and the next one finds, byte by byte."""

from pathlib import Path

import pytest
import zstandard

from llmkit.errors import UsageError
from llmkit.formats.partial_lines import (
    Header,
    begin_partial,
    finish_partial,
    is_done,
    lock_partial,
    may_be_done,
    partial_path,
    whole_lines,
)

HEADER = Header("llmkit.test-partial/1", "ab")
FIRST = b'{"schema":"llmkit.test-partial/1","settings_sha256":"ab"}\n'


def test_lines_are_behind_a_header_until_the_output_has_them_alone(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.jsonl"
    partial = partial_path(out)
    with lock_partial(partial, hint="wait") as stream:
        begin_partial(stream, 0, HEADER)
        stream.write(b'{"n":1}\n')
    assert partial.name == "out.jsonl.partial" and partial.read_bytes() == FIRST + b'{"n":1}\n'
    finish_partial(partial, out, force=False, inputs=[])
    assert out.read_bytes() == b'{"n":1}\n' and not partial.exists()


def test_an_output_is_compressed_as_its_suffix_says(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.zst"
    partial_path(out).write_bytes(FIRST + b'{"n":1}\n')
    finish_partial(partial_path(out), out, force=False, inputs=[])
    assert zstandard.ZstdDecompressor().stream_reader(out.read_bytes()).read() == b'{"n":1}\n'


def test_a_line_that_was_torn_off_is_no_line_and_makes_way(tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    partial.write_bytes(FIRST + b'{"n":1}\n{"n"')
    lines = [*whole_lines(partial)]
    assert lines == [FIRST, b'{"n":1}\n']
    with lock_partial(partial, hint="wait") as stream:
        begin_partial(stream, sum(map(len, lines)), HEADER)
        stream.write(b'{"n":2}\n')
    assert [*whole_lines(partial)] == [*lines, b'{"n":2}\n']


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    with lock_partial(partial, hint="wait"), pytest.raises(UsageError, match="another run") as caught:
        lock_partial(partial, hint="wait for it")
    assert caught.value.hint == "wait for it"


def test_an_output_that_has_come_into_being_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    partial_path(out).write_bytes(FIRST)
    out.write_bytes(b"mine")
    with pytest.raises(UsageError):
        finish_partial(partial_path(out), out, force=False, inputs=[])
    assert out.read_bytes() == b"mine" and partial_path(out).exists()


def test_an_output_is_done_while_it_is_as_a_run_of_the_same_settings_left_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b'{"n":1}\n')
    assert not may_be_done(out) and not is_done(out, HEADER)
    partial_path(out).write_bytes(FIRST + b'{"n":1}\n')
    finish_partial(partial_path(out), out, force=True, inputs=[])
    assert may_be_done(out) and is_done(out, HEADER)
    assert not is_done(out, Header(HEADER.schema, "cd")) and not is_done(out, Header("other", "ab"))
    out.write_bytes(b'{"n":2}\n')
    assert may_be_done(out) and not is_done(out, HEADER)
    out.unlink()
    assert not may_be_done(out) and not is_done(out, HEADER)
