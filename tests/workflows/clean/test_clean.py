"""A whole run: the report is written beside the documents and changes none of them; plans write nothing."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import GateFailed, MissingError, UsageError
from llmkit.formats.provenance import Invocation
from llmkit.workflows.clean.clean import clean_documents, explain_documents, plan_clean
from llmkit.workflows.clean.options import CleanFiles, CleanSettings
from llmkit.workflows.clean.report import CleanReport
from tests.formats.test_warc import record as warc_record
from tests.workflows.cleaning import write_inputs

CALLED = Invocation("clean")
GOPHER = CleanSettings(presets=("gopher-quality",), pii="mask", keep_bad=True)


def run(files: CleanFiles, settings: CleanSettings = GOPHER) -> CleanReport:
    return clean_documents(files, settings, invocation=CALLED)


def write_prose(path: Path, count: int = 30) -> Path:
    """Every second document is prose that these rules keep."""
    sentence = "The people of the town have gone to the river with a friend, and that was number {}. "
    texts = [
        "".join(sentence.format(n * 97 + k * k) for k in range(9)) if n % 2 else "x" for n in range(count)
    ]
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def test_a_report_measures_every_rule_and_changes_no_document(tmp_path: Path) -> None:
    path = write_prose(tmp_path / "a.jsonl")
    plain = run(CleanFiles([path], out=tmp_path / "plain.jsonl", rejects=tmp_path / "plain.rejects"))
    files = CleanFiles(
        [path], out=tmp_path / "out.jsonl", rejects=tmp_path / "out.rejects", report=tmp_path / "report.json"
    )
    report = run(files)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert (tmp_path / "out.rejects").read_bytes() == (tmp_path / "plain.rejects").read_bytes()
    assert plain.kept_documents == report.kept_documents == 15
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["schema"] == "llmkit.clean/1" and written["kept_documents"] == 15
    (words,) = (row for row in written["rules"] if row["rule"] == "gopher-quality.words")
    assert words["values"]["max"] > 50 and len(words["samples"]) <= 5
    drops = {row["rule"]: row["dropped_documents"] for row in written["rules"]}
    assert sum(drops.values()) == 15 == written["rejected_documents"]


def test_the_report_of_a_folder_is_that_of_a_stream(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", "abc")
    for out in ("out", "out.jsonl"):
        run(CleanFiles(inputs, out=tmp_path / out, report=tmp_path / f"{out}.json"))
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "out.jsonl.json").read_bytes()


def test_a_page_is_written_where_the_name_says_html(tmp_path: Path) -> None:
    path = write_prose(tmp_path / "a.jsonl")
    run(CleanFiles([path], out=tmp_path / "out.jsonl", report=tmp_path / "report.html"))
    assert "gopher-quality.words" in (tmp_path / "report.html").read_text()
    with pytest.raises(UsageError, match=r"neither \.json nor \.html \(found \.txt\)"):
        run(CleanFiles([path], out=tmp_path / "out2.jsonl", report=tmp_path / "report.txt"))


def test_a_rule_that_eats_the_corpus_is_stopped_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"1","text":"too short"}\n' * 300)
    for out in ("out.jsonl", "out"):
        files = CleanFiles([path], out=tmp_path / out, rejects=tmp_path / f"{out}.rejects")
        with pytest.raises(GateFailed, match=r"drops 300 of 300 documents, over --max-drop 0\.9"):
            run(files)
        assert not (tmp_path / out).exists() and not (tmp_path / f"{out}.rejects").exists()
    report = run(CleanFiles([path], out=tmp_path / "out.jsonl", max_drop=1))
    assert report.rejected_documents == 300


def test_too_much_rejected_fails_behind_a_complete_output(tmp_path: Path) -> None:
    path = write_prose(tmp_path / "a.jsonl")
    files = CleanFiles([path], out=tmp_path / "out.jsonl", fail_if_dropped_over=0.4)
    with pytest.raises(GateFailed, match="15 of 30 documents rejected"):
        run(files)
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 15


def test_a_plan_names_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in", "abc")
    plan = plan_clean(CleanFiles(inputs, out=tmp_path / "out", workers=2), GOPHER)
    assert plan.units == 3 and plan.input_bytes == sum(path.stat().st_size for path in inputs)
    assert "gopher-quality.words" in [rule["rule"] for rule in plan.rules]
    assert plan_clean(CleanFiles(inputs, out=tmp_path / "out", shard="1/2"), GOPHER).units == 2
    assert plan_clean(CleanFiles([Path("-")]), GOPHER).input_bytes is None
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    with pytest.raises(UsageError, match="holds the input"):
        plan_clean(CleanFiles(inputs, out=tmp_path / "in"), GOPHER)


def test_an_explanation_asks_every_rule_of_each_document(tmp_path: Path) -> None:
    path = write_prose(tmp_path / "a.jsonl", 2)
    short, prose = explain_documents(CleanFiles([path]), GOPHER)
    assert not short.kept and prose.kept and (prose.id, prose.line) == ("1", 2)
    values = {check["rule"]: check["value"] for check in short.checks}
    assert values["gopher-quality.words"] == 1 and values["gopher-quality.stop-words"] == 0
    failed = {check["rule"] for check in short.checks if not check["keeps"]}
    assert failed == {verdict["rule"] for verdict in short.verdicts} and len(failed) > 1
    assert all(check["value"] is not None for check in prose.checks)


def write_crawl(path: Path) -> Path:
    """A page, one that is missing and an image, each in a member of gzip, as crawlers write them."""
    words = b"<html><body><p>The people of the town have gone to the river with a friend.</p></body></html>"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + words
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n" + words
    image = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\nPNG"
    blocks = [warc_record("response", one) for one in (page, missing, image, page)]
    path.write_bytes(b"".join(map(gzip.compress, blocks)))
    return path


@pytest.mark.parametrize("way", ["stdin", "named"])
def test_a_crawl_from_a_pipe_is_that_of_its_file_and_its_report_too(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: Callable[[bytes], Path]
) -> None:
    pytest.importorskip("resiliparse")
    path = write_crawl(tmp_path / "a.warc.gz")
    plain = CleanSettings()
    of_file = run(CleanFiles([path], out=tmp_path / "file.jsonl", rejects=tmp_path / "file.rejects"), plain)
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes())))
    monkeypatch.setattr("sys.stdin", stream)
    given = Path("-") if way == "stdin" else piped(gzip.decompress(path.read_bytes()))
    of_pipe = run(CleanFiles([given], out=tmp_path / "pipe.jsonl", rejects=tmp_path / "pipe.rejects"), plain)

    def told(report: CleanReport) -> list[tuple[str, int, int]]:
        return [(one.rule, one.documents, one.dropped_documents) for one in report.rules]

    def records(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in json.loads(line).items() if key not in ("source", "_reject")}
            for line in (tmp_path / name).read_text().splitlines()
        ]

    assert told(of_pipe) == told(of_file) and of_pipe.kept_documents == 2
    assert ("http status", 4, 1) in told(of_pipe) and ("content type", 3, 1) in told(of_pipe)
    assert records("pipe.jsonl") == records("file.jsonl")
    assert records("pipe.rejects") == records("file.rejects") != []


def test_records_from_a_pipe_are_asked_nothing_of_pages(
    monkeypatch: pytest.MonkeyPatch, piped: Callable[[bytes], Path]
) -> None:
    def missing(*told: object, **more: object) -> None:
        raise AssertionError("nothing is to be extracted")

    monkeypatch.setattr("llmkit.workflows.clean.repairs.Extractor", missing)
    (told,) = explain_documents(CleanFiles([piped(b'{"text": "x"}\n')]), CleanSettings(presets=("c4",)))
    assert {check["rule"].partition(".")[0] for check in told.checks} == {"c4"}


def test_a_page_from_a_pipe_is_explained_with_what_is_asked_of_pages(
    tmp_path: Path, piped: Callable[[bytes], Path]
) -> None:
    pytest.importorskip("resiliparse")
    content = write_crawl(tmp_path / "a.warc.gz").read_bytes()
    told = list(explain_documents(CleanFiles([piped(content)]), CleanSettings()))
    assert [one.kept for one in told] == [True, False, False, True]
    first = told[1].checks[0]
    assert (first["rule"], first["value"], first["keeps"]) == ("http status", 404, False)


@pytest.mark.parametrize(("name", "flag"), [("out", "-o"), ("rejects", "--rejects"), ("report", "--report")])
def test_outputs_that_an_explanation_would_not_write_are_refused(
    tmp_path: Path, name: str, flag: str
) -> None:
    files = CleanFiles([write_prose(tmp_path / "a.jsonl", 2)], **{name: tmp_path / "b.json"})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"^{flag} .*b.json: --explain writes"):
        next(explain_documents(files, GOPHER))


def test_a_model_of_languages_is_refused_where_none_is_looked_for(tmp_path: Path) -> None:
    files = CleanFiles([write_prose(tmp_path / "a.jsonl", 2)])
    with pytest.raises(UsageError, match="--lang-model: no language"):
        plan_clean(files, CleanSettings(lang_model="lid.bin"))


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"shard": "1/2"}, "--shard divides"),
        ({"shard": "3/2", "out": "out"}, "--shard 3/2"),
        ({"executor": "ray"}, "--executor ray makes"),
        ({"rejects": "-", "out": "out"}, "--rejects -"),
        ({"workers": 0}, "--workers 0"),
        ({"against": [Path("-")]}, "--against -: is read more than once"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    tmp_path: Path, files: dict[str, object], problem: str
) -> None:
    (path,) = write_inputs(tmp_path, "a")
    paths = {name: Path(str(value)) if name in ("out", "rejects") else value for name, value in files.items()}
    with pytest.raises(UsageError, match=problem):
        run(CleanFiles([path], **paths))  # type: ignore[arg-type]


def test_test_sets_and_rule_files_that_are_not_there_are_missing(tmp_path: Path) -> None:
    (path,) = write_inputs(tmp_path, "a")
    with pytest.raises(MissingError, match="nowhere"):
        run(CleanFiles([path], against=[Path("nowhere")]))
    with pytest.raises(MissingError, match=r"nowhere\.toml"):
        run(CleanFiles([path], rules=Path("nowhere.toml")))


def test_no_output_takes_the_place_of_an_evaluation_set_even_when_forced(tmp_path: Path) -> None:
    docs, sets, out = tmp_path / "docs.jsonl", tmp_path / "sets" / "a.jsonl", tmp_path / "out.jsonl"
    sets.parent.mkdir()
    for path in (docs, sets):
        path.write_text(json.dumps({"id": "a", "text": "precious " * 9}) + "\n")
    for files in (
        CleanFiles([docs], against=[sets], force=True, out=sets),
        CleanFiles([docs], against=[sets], force=True, out=sets.parent),
        CleanFiles([docs], against=[sets], force=True, out=out, rejects=sets),
    ):
        for do in (run, lambda files: plan_clean(files, GOPHER)):
            with pytest.raises(UsageError, match=r"also an input|holds the input"):
                do(files)
    assert "precious" in sets.read_text()
