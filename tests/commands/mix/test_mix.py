"""Every flag of mix, each by what it changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a.jsonl: 8 documents of 10 bytes under MIT; b.jsonl: 4 of 10 bytes without a licence."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"a{n}", "text": f"a {n}".ljust(10), "metadata": {"license": "MIT"}} for n in range(8)]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    others = [{"id": f"b{n}", "text": f"b {n}".ljust(10), "body": "b" * 30} for n in range(4)]
    Path("b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others))


BOTH = ("--source", "a=a.jsonl:1", "--source", "b=b.jsonl:1")
BY_SIZE = ("--source", "a=a.jsonl", "--source", "b=b.jsonl")


def counts(content: bytes) -> dict[str, int]:
    found = [json.loads(line)["source"] for line in content.splitlines()]
    return {name: found.count(name) for name in sorted(set(found))}


def test_documents_go_through_stdout_and_nothing_else_does(llmkit_run: Run) -> None:
    done = llmkit_run("mix", *BOTH)
    assert (done.status, done.err) == (0, "") and counts(done.out) == {"a": 4, "b": 4}
    piped = llmkit_run(
        *("mix", "--source", "b=-:1", "--source", "a=a.jsonl:1"), stdin=Path("b.jsonl").read_bytes()
    )
    assert piped.out == done.out
    verbose = llmkit_run("mix", *BOTH, "-v")
    assert verbose.out == done.out and "50.00%" in verbose.err


def test_flags_reach_what_they_are_for(llmkit_run: Run) -> None:
    def mixed(*flags: object) -> dict[str, int]:
        done = llmkit_run("mix", *flags)
        assert done.status == 0, done.err
        return counts(done.out)

    assert mixed(*BOTH, "--on-exhaust", "drop", "-q") == {"a": 8, "b": 4}
    assert mixed(*BOTH, "--on-exhaust", "repeat") == {"a": 8, "b": 8}
    assert mixed(*BOTH, "--total", "60") == {"a": 3, "b": 3}
    assert mixed(*BOTH, "--total", "6", "--by", "documents") == {"a": 3, "b": 3}
    assert mixed(*BY_SIZE, "--total", "60") == {"a": 4, "b": 2}
    assert mixed(*BY_SIZE, "--total", "60", "--temperature", "1e9") == {"a": 3, "b": 3}
    assert mixed("--source", "a=a.jsonl:3", "--source", "b=b.jsonl:1:2", "--total", "106") == {"a": 8, "b": 3}
    assert mixed("--source", "c=b.jsonl:1", "--field", "body", "--total", "60") == {"c": 2}
    assert mixed(*BOTH, "--license-allow", "permissive", "--license-allow", "unknown") == {"a": 4, "b": 4}
    orders = {llmkit_run("mix", *BOTH, "--seed", seed).out for seed in (0, 1, 2)}
    assert len(orders) == 3
    assert mixed(*BOTH, "--workers", "1", "--executor", "inline") == {"a": 4, "b": 4}


def test_licences_that_leave_a_source_with_nothing_are_an_error(llmkit_run: Run) -> None:
    for flags in (("--license-deny", "unknown"), ("--require-license",), ("--license-allow", "MIT")):
        done = llmkit_run("mix", *BOTH, *flags)
        assert done.status == 3 and "source b" in done.err and "4 refused" in done.err and done.out == b""
    alone = llmkit_run(
        *("mix", "--source", "a=*.jsonl:1", "--require-license", "--rejects", "r.jsonl"), "-o", "o.jsonl"
    )
    assert alone.status == 0 and "refused" in alone.text and "MIT" in alone.text
    assert len(Path("r.jsonl").read_text().splitlines()) == 4


def test_strict_is_status_1_with_everything_written_and_reported(llmkit_run: Run) -> None:
    done = llmkit_run("mix", *BOTH, "--total", "200", "-o", "out.jsonl", "--strict", "--report", "r.json")
    assert done.status == 1 and "b ran dry" in done.err and "ran dry" in done.text
    report = json.loads(Path("r.json").read_text())
    assert report["schema"] == "llmkit.mix/1" and report["dry"] == ["a", "b"]
    assert len(Path("out.jsonl").read_text().splitlines()) == report["documents"] == 8
    again = llmkit_run("mix", *BOTH, "--total", "80", "-o", "out.jsonl", "--strict", "--force")
    assert again.status == 0 and again.text.startswith("documents  8 written, 80 B of text in 1 part\n")


def test_a_dry_run_reports_and_writes_nothing(llmkit_run: Run) -> None:
    done = llmkit_run("mix", *BOTH, "-n", "--json", "-o", "out")
    report = json.loads(done.out)
    assert done.status == 0 and [row["achieved"] for row in report["sources"]] == [40, 40]
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "b.jsonl"]
    assert "8 would be" in llmkit_run("mix", *BOTH, "-n").text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "NAME=PATH"),
        (("--source", "a.jsonl"), "no name"),
        (("--source", "a=a.jsonl:0"), "above 0"),
        (("--source", "a=a.jsonl:1", "--source", "a=b.jsonl:1"), "named twice"),
        (("--source", "a=a.jsonl:1", "--source", "b=b.jsonl"), "b: no weight"),
        ((*BOTH, "--by", "tokens"), "-t TOKENIZER"),
        ((*BOTH, "--by", "bytes", "-t", "tok"), "leave one of them out"),
        ((*BOTH, "--temperature", "0"), "--temperature"),
        ((*BOTH, "--license-allow", "MITT"), "did you mean MIT?"),
        ((*BOTH, "--json"), "--report"),
        ((*BOTH, "--shard", "1/2"), "-o NAME"),
        ((*BOTH, "--executor", "ray", "-o", "x.jsonl"), "-o NAME"),
        (("--source", "a=a.jsonl:1", "--source", "b=./a.jsonl:1"), "in two sources"),
    ],
)
def test_what_does_not_go_together_is_usage(llmkit_run: Run, flags: tuple[str, ...], words: str) -> None:
    done = llmkit_run("mix", *flags)
    assert done.status == 2 and words in done.err and "hint: " in done.err and done.out == b""


def test_malformed_lines_and_folders(llmkit_run: Run) -> None:
    with Path("a.jsonl").open("a") as stream:
        stream.write("no json\n")
    wrong = llmkit_run("mix", *BOTH)
    assert wrong.status == 3 and "a.jsonl:9" in wrong.err and "--skip-bad" in wrong.err
    passed = llmkit_run("mix", *BOTH, "--skip-bad")
    assert counts(passed.out) == {"a": 4, "b": 4} and passed.err == "1 bad line passed over\n"
    folder = llmkit_run("mix", *BOTH, "--skip-bad", "-o", "out", "--shard", "1/1", "--log-every", "5")
    assert folder.status == 0, folder.err
    assert sorted(path.name for path in Path("out").iterdir()) == ["llmkit.json", "part-00000.jsonl.zst"]
    again = llmkit_run("mix", "--source", "all=out:1")  # llmkit.json is none of its documents
    assert counts(again.out) == {"a": 4, "b": 4}  # what has a source keeps it
