"""dedup from files to files: what is found, that nothing is lost, and that nothing else decides the bytes."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, GateFailed, MissingError, StoppedResumable, UsageError
from llmkit.text.minhash import found_probability
from llmkit.workflows.dedup.dedup import prepare
from llmkit.workflows.dedup.options import DedupConfig, DedupSources
from tests.text.duplicates import adjusted_rand, edited, pairs_at, plain_jaccard, plain_shingles, random_text
from tests.workflows.deduping import Rows, content_of, dedup, families, write_rows

EASY = ("exact", "spaces")
HARD_NEGATIVES = ("single", "template", "licence")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Rows, dict[str, str]]:
    """Three files of documents whose families are known."""
    folder = tmp_path_factory.mktemp("known")
    rows, family = families()
    third = len(rows) // 3
    parts = [rows[:third], rows[third : 2 * third], rows[2 * third :]]
    return [write_rows(folder / f"{n}.jsonl", part) for n, part in enumerate(parts)], rows, family


def kind(name: str) -> str:
    return name.split("-")[0]


def test_families_are_found_and_look_alikes_are_kept(known: Any, tmp_path: Path) -> None:
    inputs, rows, family = known
    done = dedup(tmp_path, inputs)
    texts = {row["id"]: row["text"] for row in rows}
    wrong = [(own, kept) for own, kept in done.dropped.items() if family[own] != family[kept]]
    assert wrong == []  # precision
    assert all(plain_jaccard(texts[own], texts[kept]) >= 0.75 for own, kept in done.dropped.items())
    lost = Counter(kind(own) for own in done.dropped)
    size = Counter(kind(name) for name in family)
    groups = Counter(kind(name) for name in set(family.values()))
    for easy in EASY:
        assert lost[easy] == size[easy] - groups[easy]  # all of them, and one of each stays
    for negative in HARD_NEGATIVES:
        assert lost[negative] == 0
    assert lost["edits"] >= 0.95 * (size["edits"] - groups["edits"])
    plain = [name for name in texts if kind(name) != "chain"]
    found = [done.dropped.get(name, name) for name in plain]
    assert adjusted_rand(found, [family[name] for name in plain]) > 0.95


def test_what_is_dropped_of_a_chain_has_a_kept_document_like_it(known: Any, tmp_path: Path) -> None:
    inputs, rows, family = known
    texts = {row["id"]: row["text"] for row in rows}
    strict, loose = (dedup(tmp_path / str(way), inputs, transitive=way) for way in (False, True))
    for done, least in ((strict, 0.75), (loose, 0.0)):
        measured = {row["id"]: row["_reject"]["similarity"] for row in done.rejects}
        for own, kept in done.dropped.items():
            true = plain_jaccard(texts[own], texts[kept])
            assert true >= least and measured[own] == pytest.approx(true, abs=1e-3)
    chains = {one for one in family.values() if kind(one) == "chain"}
    left = {family[name] for name in loose.ids if kind(name) == "chain"}
    assert left == chains and len(loose.ids) < len(strict.ids) and strict.report.below == 0
    assert loose.report.below == sum(row["_reject"]["similarity"] < 0.75 for row in loose.rejects) > 0


@pytest.mark.parametrize("verify", [True, False])
def test_pairs_are_found_as_often_as_the_bands_promise(tmp_path: Path, verify: bool) -> None:
    rng = random.Random(8)
    rows, similarity = [], {}
    for wanted in (0.5, 0.6, 0.7, 0.8, 0.87, 0.95):
        for number, pair in enumerate(pairs_at(rng, wanted, 120)):
            for place, text in enumerate(pair):
                rows.append({"id": f"{wanted}-{number}-{place}", "text": text})
            similarity[f"{wanted}-{number}"] = plain_jaccard(*pair)
    done = dedup(tmp_path, [write_rows(tmp_path / "in.jsonl", rows)], verify=verify)
    found = {name.rsplit("-", 1)[0] for name in done.dropped}
    assert all(own.rsplit("-", 1)[0] == kept.rsplit("-", 1)[0] for own, kept in done.dropped.items())
    for low, high in ((0.4, 0.55), (0.55, 0.65), (0.65, 0.75), (0.75, 0.85), (0.85, 0.9), (0.9, 1.0)):
        inside = [name for name, true in similarity.items() if low <= true < high]
        if verify and low < 0.75:
            assert not found & set(inside)
            continue
        odds = [float(found_probability(similarity[name], 14, 8)) for name in inside]
        sigma = max(sum(p * (1 - p) for p in odds) ** 0.5, 0.5)
        assert len(inside) > 30 and abs(len(found & set(inside)) - sum(odds)) <= 3 * sigma, (low, high)


def test_a_quadratic_comparison_in_python_keeps_the_same(tmp_path: Path) -> None:
    rng = random.Random(9)
    texts = [random_text(rng, rng.randrange(10, 60)) for _ in range(30)]
    for _ in range(90):
        texts.append(edited(rng.choice(texts), rng, rng.choice((0, 0.01, 0.05, 0.1))))
    rows = [{"id": f"{n:03d}", "text": text} for n, text in enumerate(texts)]
    rng.shuffle(rows)
    done = dedup(
        tmp_path, [write_rows(tmp_path / "in.jsonl", rows)], similarity=0.6, bands=200, rows=1, prefer="first"
    )
    sets = [plain_shingles(row["text"]) for row in rows]
    kept: list[int] = []
    for number, own in enumerate(sets):
        if not any(len(own & sets[one]) / max(1, len(own | sets[one])) >= 0.6 for one in kept):
            kept.append(number)
    assert [row["id"] for row in done.kept] == [rows[number]["id"] for number in kept]


def test_neither_order_of_files_nor_workers_nor_units_nor_memory_change_the_bytes(
    known: Any, tmp_path: Path
) -> None:
    inputs, _, _ = known
    first = dedup(tmp_path, inputs)
    ways: list[dict[str, Any]] = [
        {"inputs": inputs[::-1]},
        {"unit_bytes": 60_000},
        {"memory_bytes": 4000, "name": "small.jsonl.zst"},
        {"workers": 2},
        {"name": "folder", "unit_bytes": 80_000},
    ]
    for number, way in enumerate(ways):
        done = dedup(tmp_path / str(number), way.pop("inputs", inputs), **way)
        assert (done.content, done.rejects, done.clusters) == (
            first.content,
            first.rejects,
            first.clusters,
        ), way
    provenance = json.loads((tmp_path / "4" / "folder" / "llmkit.json").read_text())
    assert list(provenance["inputs"]) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    left = {path.name for path in (tmp_path / "4" / "folder").iterdir()}
    assert {name.partition("-")[0] for name in left} == {"llmkit.json", "part"}


def test_the_same_documents_in_other_files_and_places_leave_the_same_ones(known: Any, tmp_path: Path) -> None:
    inputs, rows, _ = known
    first = dedup(tmp_path, inputs, prefer="source:wiki>web,length:max")
    shuffled = random.Random(1).sample(rows, len(rows))
    moved = [write_rows(tmp_path / f"m{n}.jsonl", shuffled[n::2]) for n in range(2)]
    second = dedup(tmp_path / "again", moved, prefer="source:wiki>web,length:max")
    assert second.ids == first.ids and second.dropped == first.dropped
    source = {row["id"]: row["source"] for row in rows}
    exact = [(own, kept) for own, kept in first.dropped.items() if kind(own) == "exact"]
    assert all(source[kept] == "wiki" or source[own] == "web" for own, kept in exact)
    assert {source[kept] for _, kept in exact} == {"wiki", "web"}


def test_a_stopped_folder_is_gone_on_with_and_what_is_done_is_not_done_again(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.workflows.dedup import job as dedup_job

    inputs, _, _ = known
    whole = dedup(tmp_path / "whole", inputs, "out", unit_bytes=60_000)
    real, done = dedup_job.filter_unit, []

    def failing(unit: Any, folder: Path) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(unit.name)
        return real(unit, folder)

    monkeypatch.setattr(dedup_job, "filter_unit", failing)
    with pytest.raises(KeyboardInterrupt, match="the same line goes on"):
        dedup(tmp_path / "parts", inputs, "out", unit_bytes=60_000)
    assert not (tmp_path / "parts" / "out").exists()
    monkeypatch.setattr(dedup_job, "sign_unit", lambda *_: pytest.fail("signed twice"))
    again: list[str] = []

    def counting(unit: Any, folder: Path) -> Any:
        again.append(unit.name)
        return real(unit, folder)

    monkeypatch.setattr(dedup_job, "filter_unit", counting)
    second = dedup(tmp_path / "parts", inputs, "out", unit_bytes=60_000)
    assert second.content == whole.content and not set(again) & set(done)


def test_shards_wait_for_one_another_and_make_the_same_folder(known: Any, tmp_path: Path) -> None:
    inputs, _, _ = known
    whole = dedup(tmp_path / "whole", inputs, "out", unit_bytes=60_000, rejects=None, with_clusters=False)
    rounds = 0
    while not (tmp_path / "sharded" / "out").exists():
        rounds += 1
        assert rounds < 12
        for shard in ("1/2", "2/2"):
            try:
                settings: dict[str, Any] = {"unit_bytes": 60_000, "rejects": None, "with_clusters": False}
                dedup(tmp_path / "sharded", inputs, "out", shard=shard, **settings)
            except (StoppedResumable, AssertionError) as stop:
                assert "missing" in str(stop) or isinstance(stop, AssertionError)
    assert content_of(tmp_path / "sharded" / "out") == whole.content


@pytest.mark.parametrize("by", ["exact", "paragraph", "line"])
def test_a_stream_gives_the_bytes_of_two_looks(tmp_path: Path, by: Any) -> None:
    rng = random.Random(3)
    shared = [random_text(rng, 12) for _ in range(6)]
    rows: Rows = []
    for number in range(60):
        pieces = [
            rng.choice(shared) if rng.random() < 0.5 else random_text(rng, 9)
            for _ in range(rng.randrange(1, 4))
        ]
        rows.append({"id": str(number), "text": rng.choice(("\n\n", "\n")).join(pieces), "n": 1.50})
    path = write_rows(tmp_path / "in.jsonl", rows)
    for mode in ("drop", "tag"):
        flowing = dedup(tmp_path / mode, [path], by=by, mode=mode)
        looked = dedup(tmp_path / f"{mode}2", [path], by=by, mode=mode, workers=2, unit_bytes=3000)
        assert (flowing.content, flowing.rejects) == (looked.content, looked.rejects)
        assert flowing.report.removed_by_source == looked.report.removed_by_source
        assert flowing.report.cluster_sizes == looked.report.cluster_sizes
        changed = flowing.report.tagged_documents + flowing.report.removed_documents
        assert changed + flowing.report.edited_documents > 3


def test_exact_duplicates_are_all_found_and_nothing_else_by_text_or_by_key(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "one", "metadata": {"url": "u/1"}},
        {"id": "b", "text": "one ", "metadata": {"url": "u/2"}},
        {"id": "c", "text": "one", "metadata": {"url": "u/2"}},
        {"id": "d", "text": "two", "metadata": {}},
        {"id": "e", "text": "two"},
    ]
    path = write_rows(tmp_path / "in.jsonl", rows)
    assert dedup(tmp_path / "text", [path], by="exact").dropped == {"c": "a", "e": "d"}
    by_url = dedup(tmp_path / "url", [path], by="exact", key="metadata.url")
    assert by_url.dropped == {"c": "b"} and by_url.report.without_key == 2
    assert any("2 documents without metadata.url" in warning for warning in by_url.report.warnings)
    last = dedup(tmp_path / "last", [path], by="exact", prefer="metadata.url:u/2>u/1", with_clusters=True)
    assert last.dropped == {"a": "c", "e": "d"}
    assert last.clusters == [
        {"keeper": "c", "size": 2, "members": [{"id": "a"}]},
        {"keeper": "d", "size": 2, "members": [{"id": "e"}]},
    ]


def test_rejects_without_their_reason_are_the_input_and_bad_lines_are_among_them(tmp_path: Path) -> None:
    text = random_text(random.Random(0), 80)
    lines = [
        json.dumps({"text": text, "id": 7, "x": 1e2, "y": "é"}),
        '{"id": "cut',
        json.dumps({"id": "8", "text": text, "metadata": {"license": "MIT"}}),
        json.dumps({"id": "9", "title": "no text"}),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    done = dedup(tmp_path, [tmp_path / "in.jsonl"], prefer="first")
    assert done.report.bad_lines == 2 and done.report.documents == 2
    cut, dropped, other = done.rejects
    assert cut["_line"] == lines[1] and cut["_reject"]["line"] == 2
    assert {key: value for key, value in dropped.items() if key != "_reject"} == json.loads(lines[2])
    assert {key: value for key, value in other.items() if key != "_reject"} == json.loads(lines[3])
    assert dropped["_reject"] == {
        **{
            "stage": "dedup",
            "rule": "near",
            "value": 1.0,
            "threshold": 0.75,
            "dup_of": "7",
            "similarity": 1.0,
        },
        **{"file": str(tmp_path / "in.jsonl"), "line": 3},
    }
    with pytest.raises(DataError, match=r"in\.jsonl:2: "):
        dedup(tmp_path / "strict", [tmp_path / "in.jsonl"], rejects=None)


def test_tagged_documents_are_all_there_with_what_they_are_like(known: Any, tmp_path: Path) -> None:
    inputs, rows, _ = known
    dropped = dedup(tmp_path, inputs).dropped
    tagged = dedup(tmp_path / "tag", inputs, mode="tag")
    assert [row["id"] for row in tagged.kept] == [row["id"] for row in rows] and tagged.rejects == []
    notes = {row["id"]: row["attributes"]["dedup"]["dup_of"] for row in tagged.kept if "attributes" in row}
    assert notes == dropped


def test_what_an_index_has_is_dropped_and_a_saved_one_has_both(known: Any, tmp_path: Path) -> None:
    inputs, rows, _ = known
    text = {row["id"]: row["text"] for row in rows}
    dedup(tmp_path / "a", inputs[:1], save_index=tmp_path / "old")
    second = dedup(
        tmp_path / "b", inputs[1:2], against=tmp_path / "old", save_index=tmp_path / "new", name="b.jsonl"
    )
    alone = dedup(tmp_path / "c", inputs[1:2])
    assert len(second.kept) < len(alone.kept) and second.report.index_documents > 0
    first_ids = {json.loads(line)["id"] for line in inputs[0].read_text().splitlines()}
    assert set(second.dropped.values()) & first_ids
    for own, kept in second.dropped.items():
        assert plain_jaccard(text[own], text[kept]) >= 0.75
    nothing = dedup(tmp_path / "d", inputs[1:2], against=tmp_path / "new")
    assert nothing.kept == []
    with pytest.raises(DataError, match="made with ngram 5, not 4"):
        dedup(tmp_path / "e", inputs[1:2], against=tmp_path / "old", ngram=4)
    with pytest.raises(MissingError, match="no index"):
        dedup(tmp_path / "f", inputs[1:2], against=tmp_path)


def test_an_exact_index_knows_the_texts_of_another_corpus(tmp_path: Path) -> None:
    old = write_rows(tmp_path / "old.jsonl", [{"id": f"o{n}", "text": f"text {n}"} for n in range(5)])
    new = write_rows(tmp_path / "new.jsonl", [{"id": f"n{n}", "text": f"text {n}"} for n in range(3, 9)])
    dedup(tmp_path / "a", [old], by="exact", save_index=tmp_path / "index")
    done = dedup(tmp_path / "b", [new], by="exact", against=tmp_path / "index")
    assert done.dropped == {"n3": "o3", "n4": "o4"}


def test_more_duplicates_than_allowed_is_no_after_all_is_written(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.jsonl", [{"id": str(n), "text": "same"} for n in range(4)])
    with pytest.raises(GateFailed, match=r"75\.0% duplicates among 4 documents"):
        dedup(tmp_path / "out", [path], by="exact", fail_over=0.5)
    assert len(content_of(tmp_path / "out" / "out.jsonl").splitlines()) == 1
    assert "75%" in dedup(tmp_path / "b", [path], by="exact", fail_over=0.75).report.warnings[0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"by": "line", "prefer": "length:max"}, "--prefer does not go"),
        ({"by": "exact", "transitive": True}, "--transitive"),
        ({"key": "metadata.url"}, "--by exact"),
        ({"shard": "1/2"}, "--shard needs a folder"),
        ({"span": 9}, "--span goes with --by substring"),
        ({"by": "line", "drop_above": 0.5}, "--drop-above goes with --by substring"),
        ({"by": "exact", "ngram": 3}, "--ngram goes with --by near"),
        ({"by": "substring", "verify": False}, "--no-verify goes with --by near"),
        ({"by": "line", "unit": "char"}, "--unit goes with --by near or substring"),
        ({"by": "exact", "min_words": 1}, "--min-words goes with --by paragraph or line"),
        ({"by": "substring", "drop_above": 0.5, "mode": "tag"}, "--mode tag"),
        ({"by": "substring", "drop_above": 1.0}, "a share from 0 to 1"),
        ({"by": "substring", "prefer": "length:max"}, "--prefer does not go"),
        ({"by": "substring", "save_index": Path("index")}, "no index"),
        ({"verify": False, "save_index": Path("index")}, "--no-verify"),
        ({"prefer": "length"}, "is no KEY:max"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_before_any_work(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    path = write_rows(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(UsageError, match=says):
        dedup(tmp_path / "out", [path], **settings)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_planted_copies_of_real_articles_are_found(shared_data: Path, tmp_path: Path) -> None:
    for name in ("articles-100", "articles-1000"):
        truth = {
            frozenset(line.split())
            for line in (shared_data / "dedup" / f"{name}.truth.txt").read_text().splitlines()
        }
        done = dedup(tmp_path / name, [shared_data / "dedup" / f"{name}.jsonl.zst"])
        assert {frozenset(pair) for pair in done.dropped.items()} == truth


def test_editions_of_a_book_are_told_from_other_books(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "dedup" / "gutenberg-editions.jsonl.zst"
    with_group = dedup(tmp_path, [path], mode="tag", similarity=0.5, bands=37, rows=3, prefer="first")
    from llmkit.formats.digest import content_id

    group = {content_id(row["text"]): row["group"] for row in with_group.kept}
    pairs = [
        (row["group"], group[row["attributes"]["dedup"]["dup_of"]])
        for row in with_group.kept
        if "attributes" in row
    ]
    assert len(pairs) >= 8 and all(own == kept for own, kept in pairs)


def test_an_index_that_is_read_is_no_output_even_when_forced_but_may_be_saved_anew(tmp_path: Path) -> None:
    docs, index = tmp_path / "docs.jsonl", tmp_path / "out" / "index"
    docs.touch()
    index.mkdir(parents=True)
    for folder in (index, index.parent):
        (folder / "index.json").touch()
        with pytest.raises(UsageError, match=r"also an input|holds the input"):
            prepare(DedupSources(inputs=[docs], against=index, out=folder, force=True), DedupConfig())
    renewed = DedupSources(
        inputs=[docs], against=index, save_index=index, out=tmp_path / "b.jsonl", force=True
    )
    assert prepare(renewed, DedupConfig()) == [docs]
