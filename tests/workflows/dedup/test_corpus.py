"""Documents numbered through units, and which is better."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from llmkit.text.clusters_prefer import parse_preference
from llmkit.text.minhash import band_keys, signatures
from llmkit.text.shingles import shingle
from llmkit.workflows.dedup import corpus as dedup_corpus
from llmkit.workflows.dedup import sign as dedup_sign
from llmkit.workflows.dedup.corpus import Corpus, SignedUnit, map_array
from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.sign import SignTask, sign_unit
from llmkit.workflows.units import Piece, Unit
from tests.workflows.deduping import Rows, write_rows

ROWS: Rows = [
    {"id": "b", "text": "one two three four five six", "source": "web", "metadata": {"score": 2}},
    {"id": "a", "text": "one two three four five six", "source": "web", "metadata": {"score": 2}},
    {"id": "c", "text": "quite another text", "source": "wiki", "metadata": {"score": 1}},
    {"id": "d", "text": "", "source": "wiki", "metadata": {"score": 3}},
    {"id": "é", "text": "one two three four five seven", "source": "new"},
]


def corpus_of(folder: Path, prefer: str, parts: list[Rows], *, has_index: bool = False) -> Corpus:
    """A corpus of one unit for each part."""
    (folder / "work").mkdir()
    config = DedupConfig(prefer=prefer)
    units = []
    for number, rows in enumerate(parts):
        path = write_rows(folder / f"{number}.jsonl", rows)
        task = SignTask((Piece(str(path)),), config, False)
        unit = Unit(f"sign-{number}", msgspec.to_builtins(task))
        _, report = sign_unit(unit, folder)
        terms = [term for term in config.terms if term.order != "first"]
        units.append(SignedUnit(str(folder / "work" / unit.name), tuple(report["sources"]), len(terms)))
    return Corpus(units, parse_preference(prefer), has_index=has_index)


def test_documents_are_known_by_number_through_all_units(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "first", [ROWS[:2], [], ROWS[2:]])
    assert corpus.bases.tolist() == [0, 2, 2, 5]
    assert [corpus.identity(number) for number in range(5)] == [row["id"] for row in ROWS]
    assert corpus.sources_of(np.array([4, 0, 2])) == ["new", "web", "wiki"]
    assert corpus.facts_of(np.arange(5), "elements").tolist() == [2, 2, 1, 0, 2]
    high = corpus.facts_of(np.array([0, 1, 4]), "high")
    assert high[0] == high[1] != high[2]
    assert (
        corpus.digests_of(np.array([4, 0], np.uint32)).tolist()
        == corpus.facts_of(np.array([0, 4]), "content")[::-1].tolist()
    )


@pytest.mark.parametrize(
    ("prefer", "order"),
    [
        ("first", "bacdé"),
        ("metadata.score:max", "dabcé"),  # a and b are equal but for their ids; é has no score
        ("source:new>wiki", "é" + "cd|dc" + "ab"),
        ("length:max,first", "ébacd"),
    ],
)
def test_ranks_follow_the_preference_then_the_text_then_the_id(
    tmp_path: Path, prefer: str, order: str
) -> None:
    corpus = corpus_of(tmp_path, prefer, [ROWS[:3], ROWS[3:]])
    rank = corpus.rank(np.arange(5, dtype=np.uint32))
    found = "".join(ROWS[number]["id"] for number in np.argsort(rank))
    if "|" in order:
        assert found in ("écdab", "édcab")
    else:
        assert found == order


def test_documents_of_an_index_come_first(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "length:max", [ROWS[2:4], ROWS[:2]], has_index=True)
    assert corpus.num_fixed == 2
    assert set(corpus.rank(np.arange(4, dtype=np.uint32))[:2].tolist()) == {0, 1}


def test_bands_are_read_back_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_corpus, "BLOCK", 3)
    monkeypatch.setattr(dedup_sign, "BLOCK", 3)
    texts = [f"text number {n} of a few with some words" for n in range(8)]
    corpus = corpus_of(tmp_path, "first", [[{"id": str(n), "text": text} for n, text in enumerate(texts)]])
    expected = band_keys(signatures(shingle(texts), 112), 14, 8)
    (unit,) = corpus.units
    assert np.array_equal([unit.band(band) for band in range(14)], expected)
    chosen = np.array([0, 2, 3, 7])
    assert np.array_equal(unit.bands_of(chosen), expected[:, chosen])


def test_an_empty_file_is_an_empty_array(tmp_path: Path) -> None:
    (tmp_path / "nothing").touch()
    assert len(map_array(tmp_path / "nothing", np.dtype("<u4"))) == 0
