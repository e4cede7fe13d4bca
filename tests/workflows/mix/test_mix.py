"""Mixtures of files: what is taken, what it says of itself, and that nothing but the seed decides it."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from llmkit.errors import DataError, GateFailed, StoppedResumable, UsageError
from llmkit.formats.provenance import read_provenance
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.mix.mix import check_dry, plan_mix
from llmkit.workflows.mix.options import MixFiles, MixSettings, parse_sources
from tests.workflows.mixing import content_of, mix, read_rows, rows_of, write_rows, write_sources


def sources_in(folder: Path, **weights: str) -> list[str]:
    paths = write_sources(folder)
    return [f"{name}={paths[name]}:{weight}" for name, weight in weights.items()]


def test_every_document_is_taken_once_an_epoch_unchanged_but_for_its_source_and_history(
    tmp_path: Path,
) -> None:
    sources = sources_in(tmp_path, web="0.5", wiki="0.4:2", code="0.1")
    report = mix(sources, tmp_path / "out.jsonl", settings={"total": 40_000})
    known = {
        row["text"]: (name, row)
        for name, count in (("web", 300), ("wiki", 60), ("code", 60))
        for row in rows_of(name, count)
    }
    seen: Counter[tuple[str, int]] = Counter()
    sizes: Counter[str] = Counter()
    for row in read_rows(tmp_path / "out.jsonl"):
        name, came = known[row["text"]]
        assert row.pop("source") == name
        history = row["metadata"].pop("history")
        epoch = history[0].get("epoch", 1)
        assert history == [{"stage": "mix", "source": name} | ({"epoch": epoch} if epoch > 1 else {})]
        seen[row["text"], epoch] += 1
        sizes[name] += len(row["text"])
        identity = row.pop("id")
        assert identity == came.pop("id", identity) and len(identity) > 4
        assert {key: value for key, value in row.items() if value} == came
    assert max(seen.values()) == 1 and max(epoch for _, epoch in seen) == 2
    assert {row.name: row.achieved for row in report.sources} == dict(sizes)
    assert report.achieved == pytest.approx(40_000, abs=400) and not report.dry
    assert sizes["web"] / 40_000 == pytest.approx(0.5, abs=0.01)
    assert {row.licence: row.sources for row in report.licences} == {
        **{"unknown": ["web"], "CC-BY-SA-4.0": ["wiki"], "MIT": ["code"]}
    }


def test_neither_order_of_sources_nor_workers_nor_units_nor_files_change_a_byte(tmp_path: Path) -> None:
    sources = sources_in(tmp_path / "in", web="5", wiki="3:2", code="2:2")
    settings = {"total": 30_000}
    mix(sources, tmp_path / "one", settings=settings, part_bytes=7000)
    whole = content_of(tmp_path / "one")
    assert len(list((tmp_path / "one").glob("part-*"))) == 5 and len(whole) > 30_000
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    for number, files in enumerate(({"workers": 2, "unit_bytes": 3000}, {"unit_bytes": 700})):
        out = tmp_path / f"again{number}"
        mix(random.Random(number).sample(sources, 3), out, settings=settings, part_bytes=7000, **files)
        assert [path.name for path in sorted(out.iterdir())] == names
        assert all((out / name).read_bytes() == (tmp_path / "one" / name).read_bytes() for name in names)
    mix(sources[::-1], tmp_path / "file.jsonl.gz", settings=settings)
    assert content_of(tmp_path / "file.jsonl.gz") == whole
    write_rows(tmp_path / "in" / "all.jsonl", rows_of("web", 300))  # the same documents in one file
    mix(
        [f"web={tmp_path / 'in' / 'all.jsonl'}:5", *sources[1:]], tmp_path / "joined.jsonl", settings=settings
    )
    assert content_of(tmp_path / "joined.jsonl") == whole
    mix(sources, tmp_path / "seed.jsonl", settings=settings | {"seed": 1})
    assert content_of(tmp_path / "seed.jsonl") != whole
    record = read_provenance(tmp_path / "one")
    assert record is not None and record["settings"]["source"] == [
        *("code=code.jsonl:2:2", "web=web:5", "wiki=wiki.jsonl:3:2")
    ]
    assert str(tmp_path) not in json.dumps(record) and "web=web:5" in record["command_line"]


def test_shards_make_the_same_folder_phase_by_phase(tmp_path: Path) -> None:
    sources = sources_in(tmp_path / "in", web="1", wiki="1")
    mix(sources, tmp_path / "whole", unit_bytes=4000, part_bytes=3000)
    stops = 0
    for turn in range(12):
        try:
            shard = f"{turn % 2 + 1}/2"
            mix(sources, tmp_path / "shards", unit_bytes=4000, part_bytes=3000, shard=shard)
        except StoppedResumable as stopped:
            assert stopped.status == 75 and "still missing" in stopped.problem
            stops += 1
        if (tmp_path / "shards").exists():
            break
    assert stops >= 2
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "shards" / path.name).read_bytes() == path.read_bytes()


def test_what_a_licence_forbids_is_rejected_and_jq_gives_it_back(tmp_path: Path) -> None:
    sources = sources_in(tmp_path, web="1", wiki="1", code="1")
    bad = tmp_path / "web" / "3.jsonl"
    bad.write_bytes(b"no json\n")
    rejects = tmp_path / "rejects.jsonl"
    settings = {"license_deny": ["CC-BY-SA-4.0"], "on_exhaust": "drop"}
    with pytest.raises(DataError, match=r"source wiki .*nothing to give .*60 refused"):
        mix(sources, tmp_path / "out.jsonl", settings=settings, rejects=rejects)
    assert not rejects.exists() and not (tmp_path / "out.jsonl").exists()
    write_rows(tmp_path / "wiki.jsonl", [*rows_of("wiki", 60), {"id": "free", "text": "free", "n": 1.0}])
    report = mix(sources, tmp_path / "out.jsonl", settings=settings, rejects=rejects)
    (wiki,) = [row for row in report.sources if row.name == "wiki"]
    assert (wiki.documents, wiki.refused_documents, wiki.written_documents) == (1, 60, 1)
    dropped = read_rows(rejects)
    assert len(dropped) == 61 and report.documents == 300 + 60 + 1
    why = [row.pop("_reject") for row in dropped]
    assert [row for row in dropped if "text" in row] == rows_of("wiki", 60)
    assert [row for row in dropped if "_line" in row] == [{"_line": "no json"}]
    assert {(one["stage"], one["rule"]) for one in why} == {("mix", "licence"), ("mix", "malformed")}
    (one,) = [one for one in why if one["line"] == 7 and one["rule"] == "licence"]
    assert one["value"] == "CC-BY-SA-4.0" and one["file"].endswith("wiki.jsonl")


def test_documents_and_tokens_can_be_weighed_too(tmp_path: Path, byte_tokenizer: Tokenizer) -> None:
    byte_tokenizer.save(tmp_path / "tok")
    sources = sources_in(tmp_path, wiki="1", code="3")
    report = mix(sources, tmp_path / "d.jsonl", settings={"by": "documents", "total": 40})
    assert [row.written_documents for row in report.sources] == [30, 10]
    tokens = {"by": "tokens", "tokenizer": str(tmp_path / "tok"), "total": 4000}
    by_tokens = mix(sources, tmp_path / "t.jsonl", settings=tokens)
    by_bytes = mix(sources, tmp_path / "b.jsonl", settings={"total": 4000})
    assert [row.size for row in by_tokens.sources] == [row.size for row in by_bytes.sources]  # a byte a token
    assert content_of(tmp_path / "t.jsonl") == content_of(tmp_path / "b.jsonl")


def test_a_plan_has_the_numbers_of_the_run_and_writes_nothing(tmp_path: Path) -> None:
    sources = sources_in(tmp_path, web="1", wiki="1")
    settings = MixSettings(sources=parse_sources(sources))
    before = sorted(tmp_path.rglob("*"))
    plan = plan_mix(MixFiles(out=tmp_path / "out"), settings)
    assert sorted(tmp_path.rglob("*")) == before
    done = mix(sources, tmp_path / "out")
    assert plan.sources == done.sources and plan.licences == done.licences and plan.out is None


def test_a_source_that_ran_dry_is_said(tmp_path: Path) -> None:
    sources = sources_in(tmp_path, web="1", wiki="1")
    report = mix(sources, tmp_path / "out.jsonl", settings={"total": 50_000})
    assert report.dry == ["wiki"] and "wiki has run dry" in report.warnings[0]
    with pytest.raises(GateFailed, match="--strict: wiki ran dry"):
        check_dry(report)
    more = mix(sources, tmp_path / "two.jsonl", settings={"total": 30_000, "on_exhaust": "repeat"})
    check_dry(more)
    assert more.achieved == pytest.approx(30_000, abs=300)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    paths = write_sources(tmp_path)
    code, web = paths["code"], paths["web"]
    with pytest.raises(UsageError, match=r"in two sources, a and b"):
        mix([f"a={code}:1", f"b={code}:1"], tmp_path / "out")
    with pytest.raises(UsageError, match="also an input"):
        mix([f"a={web}:1"], web, force=True)
    with pytest.raises(UsageError, match="in one place"):
        mix([f"a={code}:1"], tmp_path / "out", rejects=tmp_path / "out" / "r.jsonl")
    with pytest.raises(UsageError, match="would be gone through"):
        settings = {"total": 10**9, "on_exhaust": "repeat"}
        mix([f"a={code}:1", f"b={web}:1"], tmp_path / "out", settings=settings)
    with pytest.raises(UsageError, match="stdin"):
        mix(["a=-:1"], tmp_path / "out")
    mix([f"a={code}:1"], tmp_path / "out")
    with pytest.raises(UsageError, match="already exists"):
        mix([f"a={code}:1"], tmp_path / "out")
