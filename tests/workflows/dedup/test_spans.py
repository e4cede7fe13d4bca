"""By substring, against a loop over tuples of words."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.text.duplicates import random_text
from tests.workflows.deduping import Rows, dedup, write_rows

SPAN = 6


def corpus(count: int = 40) -> Rows:
    """Texts that have parts of others in them, some of them several times, in some paragraphs."""
    rng = random.Random(8)
    pool = [random_text(rng, words).split() for words in (5, 6, 7, 14, 30)]
    rows: Rows = []
    for number in range(count):
        words: list[str] = []
        for _ in range(rng.randrange(1, 6)):
            words += rng.choice(pool) if rng.random() < 0.5 else random_text(rng, 9).split()
        rows.append({"id": str(number), "text": " ".join(words)})
    rows.append({"id": "same", "text": " ".join(["again"] * 40)})
    rows.append({"id": "few", "text": "a b c"})
    return rows


def looked_through(rows: Rows, drop_above: float | None) -> tuple[dict[str, list[str]], dict[str, float]]:
    """The words that stay of each document, and the shares for which others go."""
    seen: dict[tuple[str, ...], tuple[str, int]] = {}
    stays, goes = {}, {}
    for row in rows:
        words, own = row["text"].split(), {}
        again: set[int] = set()
        for start in range(len(words) - SPAN + 1):
            window = tuple(words[start : start + SPAN])
            first = own.setdefault(window, start)
            if window in seen or first + SPAN <= start:
                again |= set(range(start, start + SPAN))
        share = len(again) / len(words)
        if drop_above is None:
            left = [word for place, word in enumerate(words) if place not in again]
            if left:
                stays[row["id"]] = left
        elif share > drop_above:
            goes[row["id"]] = share
            continue
        else:
            stays[row["id"]] = words
        seen |= {window: (row["id"], start) for window, start in own.items()}
    return stays, goes


@pytest.mark.parametrize("drop_above", [None, 0.0, 0.5])
@pytest.mark.parametrize("way", [{}, {"workers": 2, "unit_bytes": 800}, {"workers": 2, "memory_bytes": 640}])
def test_words_in_a_row_stay_where_they_come_first(
    tmp_path: Path, way: dict[str, Any], drop_above: float | None
) -> None:
    rows = corpus()
    path = write_rows(tmp_path / "in.jsonl", rows)
    settings: dict[str, Any] = {"by": "substring", "span": SPAN, "drop_above": drop_above}
    done = dedup(tmp_path / "out", [path], **settings, **way)
    stays, goes = looked_through(rows, drop_above)
    assert {row["id"]: row["text"].split() for row in done.kept} == stays
    assert len(stays) > 3 and stays["few"] == ["a", "b", "c"]
    report = done.report
    assert report.documents == len(rows) == report.kept_documents + report.removed_documents
    assert report.input_bytes == report.kept_bytes + report.removed_bytes
    assert report.input_bytes == sum(len(row["text"]) for row in rows)
    if drop_above is not None:
        assert report.removed_pieces == 0 and len(goes) > 3
        found = {row["id"]: (row["_reject"]["value"], row["_reject"]["threshold"]) for row in done.rejects}
        assert found == {name: (round(share, 4), drop_above) for name, share in goes.items()}
    for row in done.rejects:
        reason = row.pop("_reject")
        assert row in rows and reason["rule"] == "substring"


def test_a_span_repeated_at_once_stays_once(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": "a b c d " * 5 + "e"}]
    path = write_rows(tmp_path / "in.jsonl", rows)
    (row,) = dedup(tmp_path / "out", [path], by="substring", span=4).kept
    assert row["text"] == "a b c d e"
    (row,) = dedup(tmp_path / "long", [path], by="substring", span=11).kept
    assert row["text"] == rows[0]["text"]  # no eleven words again behind the first eleven


def test_what_a_dropped_document_has_is_no_repeat_elsewhere(tmp_path: Path) -> None:
    rng = random.Random(2)
    first, second = random_text(rng, 10), random_text(rng, 10)
    rows = [{"id": "1", "text": first}, {"id": "2", "text": f"{first} {second}"}, {"id": "3", "text": second}]
    path = write_rows(tmp_path / "in.jsonl", rows)
    done = dedup(tmp_path / "out", [path], by="substring", span=8, drop_above=0.2)
    assert done.ids == {"1", "3"}
    assert dedup(tmp_path / "cut", [path], by="substring", span=8).ids == {"1", "2"}


def test_tagged_spans_are_where_the_words_are(tmp_path: Path) -> None:
    rng = random.Random(3)
    shared, own = random_text(rng, 12), random_text(rng, 7)
    rows = [{"id": "1", "text": shared}, {"id": "2", "text": f"é {own}\n\n{shared} end"}]
    path = write_rows(tmp_path / "in.jsonl", rows)
    done = dedup(tmp_path / "out", [path], by="substring", span=10, mode="tag")
    assert [row["text"] for row in done.kept] == [row["text"] for row in rows]
    tag = done.kept[1]["attributes"]["dedup"]
    ((start, stop),) = tag["spans"]
    assert tag["rule"] == "substring" and rows[1]["text"][start:stop] == shared


def test_characters_are_counted_where_words_have_no_space_between_them(tmp_path: Path) -> None:
    shared = "吾輩は猫である。名前はまだ無い。どこで生れたか"
    rows = [{"id": "1", "text": f"一{shared}二"}, {"id": "2", "text": f"三四{shared}五六"}]
    path = write_rows(tmp_path / "in.jsonl", rows)
    done = dedup(tmp_path / "out", [path], by="substring", span=20, unit="char")
    assert [row["text"] for row in done.kept] == [rows[0]["text"], "三四五六"]
    whole = dedup(tmp_path / "words", [path], by="substring", span=20)
    assert [row["text"] for row in whole.kept] == [row["text"] for row in rows]


def test_neither_the_order_of_files_nor_workers_nor_a_folder_change_the_bytes(tmp_path: Path) -> None:
    rows = corpus(60)
    paths = [write_rows(tmp_path / f"{n}.jsonl", rows[n::3]) for n in range(3)]
    settings: dict[str, Any] = {"by": "substring", "span": SPAN}
    expected = dedup(tmp_path / "one", paths, **settings)
    for number, way in enumerate(
        ({"workers": 3, "unit_bytes": 500}, {"name": "out", "unit_bytes": 900}, {"memory_bytes": 400})
    ):
        done = dedup(tmp_path / str(number), [paths[2], paths[0], paths[1]], **settings, **way)
        assert (done.content, done.rejects) == (expected.content, expected.rejects)
