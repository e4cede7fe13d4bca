"""Every flag of clean, each by what it changes."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

PROSE = (
    "The old man went down to the river with the dog, and that was the end of the day for them both. "
    "They have seen the water rise before, and to be there is to be with the people of the town. "
    "Nobody had told him that bridges fall, that rivers turn, or that summers end without a word. "
    "So he sat and waited, as a man will do who has the whole of an evening and of a life behind him."
)
FINNISH = (
    "Vaka vanha Väinämöinen itse tuon sanoiksi virkkoi: lähtekäämme laulamahan, saakamme sanelemahan. " * 3
)
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *rows: dict[str, Any] | str) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return name


def rows(content: bytes | Path) -> list[dict[str, Any]]:
    content = content.read_bytes() if isinstance(content, Path) else content
    return [json.loads(line) for line in content.splitlines()]


def reasons(name: str = "rejects.jsonl") -> dict[str, tuple[str, Any, Any]]:
    found = {row["id"]: row["_reject"] for row in rows(Path(name))}
    return {key: (why["rule"], why["value"], why["threshold"]) for key, why in found.items()}


@pytest.fixture
def documents() -> str:
    return write(
        "docs.jsonl",
        {"id": "prose", "text": PROSE, "n": 1.0},
        {"id": "short", "text": "too short"},
        {"id": "mail", "text": PROSE + " Write to jane.roe@example.org."},
    )


def test_documents_pass_unchanged_where_nothing_is_asked(llmkit_run: Run, documents: str) -> None:
    done = llmkit_run("clean", documents)
    assert (done.status, done.out, done.err) == (0, Path(documents).read_bytes(), "")
    assert llmkit_run("clean", stdin=Path(documents).read_bytes()).out == done.out
    assert llmkit_run("clean", "-", stdin=zstandard.compress(done.out)).out == done.out


def test_presets_and_rejects(llmkit_run: Run, documents: str) -> None:
    done = llmkit_run("clean", "--preset", "gopher-quality", documents, "--rejects", "rejects.jsonl")
    assert done.status == 0 and [row["id"] for row in rows(done.out)] == ["prose", "mail"]
    assert reasons() == {"short": ("gopher-quality.words", 2.0, 50)}
    both = llmkit_run(
        *("clean", "--preset", "fineweb-quality", "--preset", "gopher-quality", documents),
        *("--rejects", "both.jsonl"),
    )
    assert len(rows(both.out)) + len(reasons("both.jsonl")) == 3
    assert reasons("both.jsonl")["short"][0] == "fineweb-quality.stopped-lines"  # the first named
    wrong = llmkit_run("clean", "--preset", "gofer", documents)
    assert wrong.status == 2 and "gofer" in wrong.err and "did you mean gopher?" in wrong.err


def test_a_rule_file(llmkit_run: Run, documents: str) -> None:
    Path("my.toml").write_text('[[rules]]\nrule = "gopher-quality"\nmin_words = 2\nmin_stop_words = false\n')
    assert len(rows(llmkit_run("clean", "--rules", "my.toml", documents).out)) == 3
    Path("my.toml").write_text('[[rules]]\nrule = "gopher-quality"\nmin_word = 2\n')
    wrong = llmkit_run("clean", "--rules", "my.toml", documents)
    assert wrong.status == 2 and "my.toml: rule 1" in wrong.err and "min_words" in wrong.err


def test_extract_and_its_time(llmkit_run: Run) -> None:
    pytest.importorskip("resiliparse")
    page = f"<html><head><title>T</title></head><body><p>{PROSE}</p></body></html>"
    Path("a.html").write_text(page)
    (found,) = rows(llmkit_run("clean", "a.html").out)
    assert found["text"] == PROSE and found["metadata"]["title"] == "T" and "html" not in found
    assert found["metadata"]["history"] == [{"stage": "clean", "extract": "fast"}]
    (found,) = rows(llmkit_run("clean", "a.html", "--extract", "none").out)
    assert found["text"] == page
    source = write("a.jsonl", {"id": "a", "html": page})
    assert llmkit_run("clean", source).status == 3
    assert rows(llmkit_run("clean", source, "--extract", "fast").out)[0]["text"] == PROSE
    slow = write("slow.jsonl", {"id": "slow", "html": "<div>" * 3_000_000})
    done = llmkit_run(
        *("clean", slow, "--extract", "fast", "--time-per-document", "0.3s", "--rejects", "rejects.jsonl")
    )
    assert (done.status, done.out) == (0, b"") and reasons()["slow"][0] in (
        "extract timeout",
        "extract crash",
    )


def test_precise_extraction(llmkit_run: Run) -> None:
    pytest.importorskip("trafilatura")
    paragraphs = "".join(f"<p>{PROSE}</p>" for _ in range(3))
    Path("a.html").write_text(f"<body><nav>Home About</nav><article>{paragraphs}</article></body>")
    (found,) = rows(llmkit_run("clean", "a.html", "--extract", "precise").out)
    assert "Home" not in found["text"] and found["metadata"]["history"][0]["extract"] == "precise"


def test_fix_encoding_and_boilerplate(llmkit_run: Run) -> None:
    pytest.importorskip("ftfy")
    source = write("a.jsonl", {"id": "a", "text": f"cafÃ©\n{PROSE}\n{PROSE}\nAll rights reserved\nRead more"})
    (found,) = rows(llmkit_run("clean", source, "--fix-encoding").out)
    assert found["text"].startswith("café\n") and "Read more" in found["text"]
    (found,) = rows(llmkit_run("clean", source, "--boilerplate").out)
    assert "Read more" not in found["text"] and PROSE in found["text"]


def test_languages_and_their_model(llmkit_run: Run) -> None:
    pytest.importorskip("py3langid")
    source = write("a.jsonl", {"id": "en", "text": PROSE}, {"id": "fi", "text": FINNISH})
    done = llmkit_run("clean", source, "--lang", "en:0.65", "--rejects", "rejects.jsonl")
    assert [(row["id"], row["metadata"]["lang"]) for row in rows(done.out)] == [("en", "en")]
    assert reasons()["fi"][0] == "language"
    assert len(rows(llmkit_run("clean", source, "--lang", "en,fi").out)) == 2
    wrong = llmkit_run("clean", source, "--lang", "english")
    assert wrong.status == 2 and "hint: " in wrong.err
    missing = llmkit_run("clean", source, "--lang", "en", "--lang-model", "nowhere.bin")
    assert missing.status == 4


@pytest.mark.parametrize("way", ["mask", "tag", "drop"])
def test_personal_data(llmkit_run: Run, documents: str, way: str) -> None:
    found = rows(llmkit_run("clean", documents, "--pii", way).out)
    assert len(found) == (2 if way == "drop" else 3)
    if way != "drop":
        assert ("<EMAIL>" in found[2]["text"], "attributes" in found[2]) == (way == "mask", way == "tag")


def test_licences(llmkit_run: Run) -> None:
    source = write(
        "a.jsonl",
        {"id": "mit", "text": "a", "metadata": {"license": "MIT"}},
        {"id": "gpl", "text": "b", "metadata": {"license": "GPL-3.0-only"}},
        {"id": "none", "text": "c"},
        {"id": "said", "text": "This page is licensed under the Apache License, Version 2.0."},
    )

    def kept(*flags: str) -> list[str]:
        return [row["id"] for row in rows(llmkit_run("clean", source, *flags).out)]

    assert kept("--license-allow", "MIT") == ["mit"]
    assert kept("--license-allow", "MIT", "--license-allow", "copyleft") == ["mit", "gpl"]
    assert kept("--license-deny", "GPL-3.0-only") == ["mit", "none", "said"]
    assert kept("--require-license") == ["mit", "gpl"]
    assert kept("--require-license", "--detect-license") == ["mit", "gpl", "said"]
    assert kept("--require-license", "permissive") == kept("--require-license=MIT") == ["mit"]
    assert kept("--require-license", "copyleft", "--license-allow", "MIT") == ["mit", "gpl"]
    assert llmkit_run("clean", source, "--license-allow", "MITT").status == 2


def test_against_a_test_set(llmkit_run: Run, documents: str) -> None:
    write("test.jsonl", {"question": PROSE[100:250]})
    done = llmkit_run("clean", documents, "--against", "test.jsonl", "--rejects", "rejects.jsonl")
    assert [row["id"] for row in rows(done.out)] == ["short"]
    assert {why[0] for why in reasons().values()} == {"contaminated"}


def test_tag_mode_keeps_all_with_reasons(llmkit_run: Run, documents: str) -> None:
    found = rows(llmkit_run("clean", documents, "--preset", "gopher-quality", "--mode", "tag").out)
    assert [[why["rule"] for why in row["attributes"]["clean"]][:1] for row in found] == [
        [],
        ["gopher-quality.words"],
        [],
    ]


def test_another_field(llmkit_run: Run) -> None:
    source = write("a.jsonl", {"id": "a", "content": "mail a@example.org", "text": 3})
    (found,) = rows(llmkit_run("clean", source, "--field", "content", "--pii", "mask").out)
    assert found == {
        "id": "a",
        "content": "mail <EMAIL>",
        "text": 3,
        "metadata": {"history": [{"stage": "clean", "edits": {"pii email": 1}}]},
    }


def test_outputs_by_suffix_and_as_a_folder(llmkit_run: Run, documents: str) -> None:
    content = Path(documents).read_bytes()
    for name, opened in (
        ("o.jsonl", bytes),
        ("o.jsonl.gz", gzip.decompress),
        ("o.jsonl.zst", lambda found: zstandard.ZstdDecompressor().decompressobj().decompress(found)),
    ):
        done = llmkit_run("clean", documents, "-o", name)
        assert done.status == 0 and opened(Path(name).read_bytes()) == content
        assert "kept       3" in done.text
    assert llmkit_run("clean", documents, "-o", "o.jsonl").status == 2
    assert llmkit_run("clean", documents, "-o", "o.jsonl", "--force").status == 0
    assert llmkit_run("clean", documents, "-o", "parts", "--workers", "2").status == 0
    assert sorted(path.name for path in Path("parts").iterdir()) == ["llmkit.json", "part-00000.jsonl.zst"]
    record = json.loads(Path("parts/llmkit.json").read_text())
    assert record["command_line"] == "llmkit clean docs.jsonl" and "workers" not in record["settings"]


def test_shards_and_executors(llmkit_run: Run) -> None:
    for name in "abc":
        write(f"{name}.jsonl", {"id": name, "text": name})
    names = ["a.jsonl", "b.jsonl", "c.jsonl"]
    first = llmkit_run("clean", *names, "-o", "parts", "--shard", "2/2")
    assert first.status == 0 and "one shard: others are missing" in first.text and not Path("parts").exists()
    assert llmkit_run("clean", *reversed(names), "-o", "parts", "--shard", "1/2").status == 0
    llmkit_run("clean", *names, "-o", "whole", "--executor", "inline", "--workers", "2")
    assert {path.name: path.read_bytes() for path in Path("parts").iterdir()} == {
        path.name: path.read_bytes() for path in Path("whole").iterdir()
    }


def test_reports(llmkit_run: Run, documents: str) -> None:
    flags = ["--preset", "gopher", "-o", "o.jsonl", "--report", "r.html", "--json"]
    report = json.loads(llmkit_run("clean", documents, *flags).text)
    assert report["schema"] == "llmkit.clean/1" and report["rejected_documents"] == 1
    assert "gopher-quality.words" in Path("r.html").read_text()
    both = llmkit_run("clean", documents, "--json")
    assert both.status == 2 and "--report" in both.err
    assert llmkit_run("clean", documents, "--report", "r.txt").status == 2
    assert "kept       3" in llmkit_run("clean", documents, "-v").err


def test_gates(llmkit_run: Run) -> None:
    source = write(
        "a.jsonl", *[{"id": str(n), "text": "a@example.org" if n % 4 else "b"} for n in range(240)]
    )
    flags = ["clean", source, "--pii", "drop", "-o", "o.jsonl"]
    stopped = llmkit_run(*flags, "--max-drop", "0.7")
    assert stopped.status == 1 and "pii drops 180 of 240" in stopped.err and not Path("o.jsonl").exists()
    failed = llmkit_run(*flags, "--fail-if-dropped-over", "0.5")
    assert failed.status == 1 and "180 of 240 documents rejected (75.0%)" in failed.err
    assert len(rows(Path("o.jsonl"))) == 60
    assert llmkit_run(*flags, "--fail-if-dropped-over", "0.75", "--force").status == 0
    assert llmkit_run(*flags, "--fail-if-dropped-over", "50%", "--force").status == 1
    for flag in ("--fail-if-dropped-over", "--max-drop"):
        for wrong in ("75", "nan"):
            assert llmkit_run(*flags, flag, wrong, "--force").status == 2


def test_extraction_without_any_time_is_refused_before_work(llmkit_run: Run) -> None:
    Path("a.html").write_text(f"<p>{PROSE}</p>")
    done = llmkit_run("clean", "a.html", "--time-per-document", "0")
    assert done.status == 2 and "--time-per-document 0: no page is extracted in that" in done.err


def test_explain(llmkit_run: Run, documents: str) -> None:
    text = llmkit_run("clean", documents, "--preset", "gopher", "--explain").text
    assert "short  docs.jsonl:2  dropped" in text and "prose  docs.jsonl:1  kept" in text
    (line,) = (line for line in text.splitlines() if "DROPS" in line and "gopher-quality.words" in line)
    assert line.split()[2:] == ["2", ">=", "50,", "<=", "100000", "words,", "signs", "left", "out"]
    found = rows(llmkit_run("clean", documents, "--preset", "gopher", "--explain", "--json").out)
    assert [one["kept"] for one in found] == [True, False, True]


def test_malformed_lines(llmkit_run: Run) -> None:
    source = write("a.jsonl", {"id": "a", "text": "t"}, "nonsense", {"id": "b"})
    stopped = llmkit_run("clean", source)
    assert stopped.status == 3 and "a.jsonl:2: not a JSON object" in stopped.err
    passed = llmkit_run("clean", source, "--skip-bad")
    assert passed.status == 0 and len(rows(passed.out)) == 1 and "2 bad lines passed over" in passed.err
    kept = llmkit_run("clean", source, "--rejects", "r.jsonl")
    assert kept.status == 0 and [row["_reject"]["line"] for row in rows(Path("r.jsonl"))] == [2, 3]


def test_a_value_nested_too_deeply_is_a_bad_line(llmkit_run: Run) -> None:
    deep = '{"text": "x", "m": ' + "[" * 2000 + "]" * 2000 + "}"
    source = write("a.jsonl", {"id": "a", "text": "t"}, deep)
    stopped = llmkit_run("clean", source)
    assert stopped.status == 3 and "a.jsonl:2: not a JSON object: nested too deeply" in stopped.err
    passed = llmkit_run("clean", source, "--skip-bad")
    assert passed.status == 0 and len(rows(passed.out)) == 1 and "1 bad line passed over" in passed.err


def test_a_value_that_is_no_utf_8_is_named_where_it_is_looked_at(llmkit_run: Run) -> None:
    Path("a.jsonl").write_bytes(b'{"id": "a", "text": "t", "metadata": {"license": "\xff"}}\n')
    stopped = llmkit_run("clean", "a.jsonl", "--require-license")
    assert stopped.status == 3 and stopped.err.startswith("llmkit: error: a.jsonl:1: ")
    assert "1 bad line" in llmkit_run("clean", "a.jsonl", "--require-license", "--skip-bad").err


def test_a_plan(llmkit_run: Run, documents: str) -> None:
    done = llmkit_run("clean", documents, "--preset", "c4", "-o", "parts", "-n")
    assert "a folder of 1 part\n" in done.text and "c4.sentences" in done.text and not Path("parts").exists()
    plan = json.loads(llmkit_run("clean", documents, "-n", "--json").text)
    assert plan["schema"] == "llmkit.clean-plan/1" and plan["inputs"] == [documents]


def test_workers_unbuffered_and_quiet_lines(llmkit_run: Run, documents: str) -> None:
    content = Path(documents).read_bytes()
    done = llmkit_run("clean", documents, "--workers", "2", "--log-every", "0")
    assert done.out == content and "cleaning" in done.err
    assert llmkit_run("clean", documents, "--unbuffered", "-q").out == content


def test_rejects_without_reasons_and_kept_documents_are_the_input(llmkit_run: Run, shell: Run) -> None:
    write(
        "docs.jsonl",
        *[{"id": str(n), "text": PROSE if n % 3 else f"short {n}", "x": [n, 0.10]} for n in range(30)],
    )
    done = shell(
        "llmkit clean --preset gopher docs.jsonl --rejects r.jsonl.zst -o k.jsonl.gz -q"
        " && (zcat k.jsonl.gz; zstd -dcq r.jsonl.zst | sed 's/,\"_reject\":{[^}]*}}$/}/') | sort"
    )
    assert done.status == 0, done.err
    assert done.out.splitlines()[-30:] == sorted(Path("docs.jsonl").read_bytes().splitlines())


def test_a_reader_that_leaves_ends_it_in_silence(shell: Run, documents: str) -> None:
    Path("many.jsonl").write_bytes(Path(documents).read_bytes() * 3000)
    done = shell("llmkit clean many.jsonl --workers 2 | head -n 1")
    assert (done.status, done.err) == (0, "") and rows(done.out)[0]["id"] == "prose"
