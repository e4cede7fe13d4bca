"""Paragraphs and lines of many documents, against a loop with a Python set."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.text.duplicates import random_text
from tests.workflows.deduping import Rows, dedup, write_rows


@pytest.mark.parametrize(("by", "joint"), [("line", "\n"), ("paragraph", "\n\n")])
@pytest.mark.parametrize("way", [{}, {"workers": 2, "unit_bytes": 800}, {"workers": 2, "memory_bytes": 640}])
def test_each_piece_stays_where_it_comes_first(
    tmp_path: Path, by: Any, joint: str, way: dict[str, Any]
) -> None:
    rng = random.Random(4)
    pool = [random_text(rng, words) for words in (3, 6, 7, 8, 9)]
    rows: Rows = [
        {"id": str(n), "text": joint.join(rng.choice([*pool, random_text(rng, 8)]) for _ in range(4))}
        for n in range(40)
    ]
    done = dedup(tmp_path / "out", [write_rows(tmp_path / "in.jsonl", rows)], by=by, **way)
    seen: set[str] = set()
    expected, gone = {}, 0
    for row in rows:
        left = []
        for piece in row["text"].split(joint):
            is_new = len(piece.split()) < 5 or piece not in seen
            seen.add(piece)
            left += [piece] if is_new else []
            gone += not is_new
        if left:
            expected[row["id"]] = left
    assert {row["id"]: row["text"].strip().split(joint) for row in done.kept} == expected
    assert done.report.removed_pieces == gone
    for row in done.kept:
        if "metadata" in row:
            (note,) = row["metadata"]["history"]
            assert note["stage"] == "dedup" and note["rule"] == by and note["removed"] > 0


def test_short_lines_are_nobodys_unless_asked(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.jsonl", [{"id": "1", "text": "}\na b"}, {"id": "2", "text": "}\nc d"}])
    assert [row["text"] for row in dedup(tmp_path / "a", [path], by="line").kept] == ["}\na b", "}\nc d"]
    assert [row["text"] for row in dedup(tmp_path / "b", [path], by="line", min_words=1).kept] == [
        "}\na b",
        "c d",
    ]
