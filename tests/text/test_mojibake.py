"""Mojibake made from real text and turned back, and what ftfy itself says of real dirty text."""

from pathlib import Path

import msgspec
import pytest
import zstandard

from llmkit.text.mojibake import repair_mojibake

ftfy = pytest.importorskip("ftfy")


def read(path: Path) -> str:
    with zstandard.open(path, "rb") as stream:
        return stream.read().decode()


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_book_read_in_the_wrong_encoding_comes_back(encoding: str, shared_data: Path) -> None:
    book = read(shared_data / "text" / "gutenberg" / "fi-kalevala.txt.zst")[20_000:60_000]
    broken = book.encode().decode(encoding, "strict" if encoding == "latin-1" else "replace")
    repaired, edits = repair_mojibake(broken)
    assert edits > 300
    assert repaired == book
    assert repair_mojibake(book) == (book, 0)


def test_what_its_author_wrote_stays() -> None:
    text = "“Curly” ﬁne ｆｕｌｌ &amp; x²\r\n– naïve façade Ångström €5 …\x1b[1m\tÂ"
    assert repair_mojibake(text) == (text, 0)


def test_only_the_lines_that_are_broken_change() -> None:
    text = "sound\nthatâ€™s broken\nsound – too\nciÃ² che"
    assert repair_mojibake(text) == ("sound\nthat’s broken\nsound – too\nciò che", 2)


def test_crawled_pages_come_out_as_ftfy_repairs_every_line(shared_data: Path) -> None:
    config = ftfy.TextFixerConfig(
        **dict.fromkeys(("unescape_html", "fix_latin_ligatures", "fix_character_width"), False),
        **dict.fromkeys(("uncurl_quotes", "fix_line_breaks", "remove_control_chars"), False),
        remove_terminal_escapes=False,
        normalization=None,
        explain=False,
    )
    path = shared_data / "dirty" / "web" / "common-crawl-697.jsonl.zst"
    records = [msgspec.json.decode(line) for line in read(path).rstrip("\n").split("\n")[:250]]
    lines = [line for record in records for line in record["text"].split("\n") if not line.isascii()]
    repaired, edits = repair_mojibake("\n".join(lines))
    expected = [ftfy.fix_text(line, config) for line in lines]
    assert repaired.split("\n") == expected
    assert edits == sum(ours != line for ours, line in zip(expected, lines, strict=True)) >= 4


def test_no_language_is_taken_for_mojibake(shared_data: Path) -> None:
    path = shared_data / "text" / "multilingual" / "udhr.jsonl.zst"
    for line in read(path).rstrip("\n").split("\n"):
        record = msgspec.json.decode(line)
        repaired, _ = repair_mojibake(record["text"])
        for before, after in zip(record["text"].split("\n"), repaired.split("\n"), strict=True):
            assert before == after or any("\x80" <= letter <= "\x9f" for letter in before), before
