"""Plain text in blocks: every byte of it, and bad bytes by their line."""

import io

import pytest

from llmkit.errors import DataError
from llmkit.formats import text_blocks
from llmkit.formats.jsonl import BadLine
from llmkit.formats.text_blocks import read_blocks

TEXT = "eins\nzwei grüße\r\n\n東京 🙂 ende"


@pytest.fixture(params=[1, 2, 7, 1 << 20])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks that end inside characters and lines."""
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", request.param)
    return int(request.param)


def _read(content: bytes) -> str:
    return "".join(read_blocks(io.BytesIO(content), "a.txt"))


def test_blocks_joined_are_the_text(block_bytes: int) -> None:
    assert _read(TEXT.encode()) == TEXT
    assert _read(b"") == ""
    assert _read("\ud7ff\ue000\U0010ffff\0".encode()) == "\ud7ff\ue000\U0010ffff\0"


def test_a_byte_order_mark_at_the_beginning_is_no_text(block_bytes: int) -> None:
    assert _read("\ufefftext \ufeff".encode()) == "text \ufeff"


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b"gr\xfc\xdfe\n", 1, "fc"),
        (b"ok\nok\nbad \xff", 3, "ff"),
        (b"cut short \xe6\x9d", 1, "e6"),
        (b"\n\ned \xed\xa0\x80 surrogate", 3, "ed"),
    ],
)
def test_bytes_that_are_not_utf8_are_named_by_line(
    block_bytes: int, content: bytes, line: int, byte: str
) -> None:
    with pytest.raises(DataError) as caught:
        _read(content)
    assert caught.value.problem == f"a.txt:{line}: not UTF-8 (found byte 0x{byte})"


def test_bad_lines_can_be_left_out_and_are_kept_as_they_were() -> None:
    bad: list[BadLine] = []
    content = b"one\ntw\xfco\nthree\n\xff\xfe\nfive \xe6\x9d"
    text = "".join(read_blocks(io.BytesIO(content), "a.txt", on_bad=bad.append))
    assert text == "one\nthree\n"
    assert [(one.number, one.content) for one in bad] == [
        (2, b"tw\xfco\n"),
        (4, b"\xff\xfe\n"),
        (5, b"five \xe6\x9d"),
    ]


def test_no_more_than_two_blocks_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 10)
    stream = io.BytesIO(b"x" * 100)
    blocks = read_blocks(stream, "a.txt")
    assert len(next(blocks)) == 10 and stream.tell() == 20
