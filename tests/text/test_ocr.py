"""The OCR rule on newspapers as scanned and as corrected, and its numbers by hand."""

import json
from pathlib import Path

import zstandard

from llmkit.text.ocr import Ocr
from llmkit.text.rule import apply_rules


def scores(text: str) -> dict[str, float]:
    found = apply_rules((Ocr(),), text, every_score=True).scores
    return {name.split(".")[1]: value for name, value in found.items()}


def test_numbers_worked_by_hand() -> None:
    assert scores("a b\ufffdc d")["broken-characters"] == 1 / 7
    assert scores("the broken-\nword is here")["torn-words"] == 1 / 5
    assert scores("a b I k to")["lone-letters"] == 2 / 5
    assert scores("bcdfghk is no word")["garbage-words"] == 1 / 4
    assert set(scores("").values()) == {0}


def test_of_raw_scans_a_third_is_dropped_and_hardly_a_correction_or_book(shared_data: Path) -> None:
    def read(name: str) -> str:
        with (shared_data / name).open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file).read().decode()

    pairs = [json.loads(line) for line in read("dirty/ocr/overproof-train.jsonl.zst").split("\n") if line]
    dropped = sum(apply_rules((Ocr(),), pair["ocr"]).verdict is not None for pair in pairs)
    wrongly = sum(apply_rules((Ocr(),), pair["truth"]).verdict is not None for pair in pairs)
    assert dropped / len(pairs) > 0.35
    assert wrongly / len(pairs) < 0.04
    book = read("text/gutenberg/en-alice.txt.zst")
    assert apply_rules((Ocr(),), book).verdict is None
