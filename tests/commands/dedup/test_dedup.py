"""llmkit dedup on the command line: streams, exit status, reports."""

import json
from pathlib import Path

import pytest

TEXT = "a text of ten words or so which has another like it"


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Two that are alike and one that is not, also as docs.jsonl in the working folder."""
    texts = {"a": TEXT, "b": f"{TEXT}!", "c": "nothing of the kind"}
    content = "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()).encode()
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_bytes(content)
    return content


def ids(content: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in content.splitlines()]


def test_documents_go_through_stdout_and_nothing_else_does(llmkit_run, documents: bytes) -> None:
    named, piped = llmkit_run("dedup", "docs.jsonl"), llmkit_run("dedup", stdin=documents)
    assert named.status == piped.status == 0 and named.out == piped.out
    assert ids(named.out) == ["b", "c"] and named.err == ""  # the longer of two
    assert ids(llmkit_run("dedup", "docs.jsonl", "--prefer", "first").out) == ["a", "c"]
    assert ids(llmkit_run("dedup", "--by", "exact", "docs.jsonl").out) == ["a", "b", "c"]


def test_bad_lines_are_passed_over_and_counted_on_stderr(llmkit_run, documents: bytes) -> None:
    deep = b'{"text": "x", "m": ' + b"[" * 2000 + b"]" * 2000 + b"}\n"
    stopped = llmkit_run("dedup", stdin=documents + deep)
    assert stopped.status == 3 and "stdin:4: not a JSON object: nested too deeply" in stopped.err
    done = llmkit_run("dedup", "--skip-bad", stdin=documents + deep + b"nonsense\n")
    assert (done.status, ids(done.out), done.err) == (0, ["b", "c"], "2 bad lines passed over\n")
    assert llmkit_run("dedup", "--skip-bad", "-q", stdin=documents + deep).err == ""


def test_a_report_is_on_stdout_where_documents_are_not(llmkit_run, documents: bytes) -> None:
    text = llmkit_run("dedup", "docs.jsonl", "-o", "out.jsonl")
    assert text.text.startswith("documents  3: 2 kept, 1 dropped (33.3%)\n")
    report = json.loads(
        llmkit_run("dedup", "docs.jsonl", "-o", "out2.jsonl", "--json", "--report", "r.json").out
    )
    assert report["schema"] == "llmkit.dedup/1" and report["removed_documents"] == 1
    assert json.loads(Path("r.json").read_text()).keys() == report.keys()
    refused = llmkit_run("dedup", "docs.jsonl", "--json")
    assert refused.status == 2 and refused.out == b"" and "--report" in refused.err


@pytest.mark.parametrize("size", ["0", "1", "100k"])
def test_memory_in_which_nothing_can_be_sorted_is_refused(llmkit_run, documents: bytes, size: str) -> None:
    done = llmkit_run("dedup", "docs.jsonl", "--memory", size)
    assert done.status == 2 and f"{size} is less than 1MiB" in done.err


def test_flags_reach_what_they_are_for(llmkit_run, documents: bytes) -> None:
    def kept(*flags: object) -> list[str]:
        done = llmkit_run("dedup", "docs.jsonl", *flags)
        assert done.status == 0, done.err
        return ids(done.out)

    assert kept("--mode", "tag") == ["a", "b", "c"]
    assert kept("--by", "exact", "--key", "id") == ["a", "b", "c"]
    Path("again.jsonl").write_text(
        json.dumps({"id": "d", "text": TEXT.replace("ten words", "nine words")}) + "\n"
    )
    assert kept("again.jsonl") == [
        "d",
        "b",
        "c",
    ]  # files in the order of their names; 4 shingles of 12 in common
    assert len(kept("again.jsonl", "--similarity", "0.3")) == 2
    assert len(kept("again.jsonl", "--similarity", "0.6", "--ngram", "2")) == 2
    assert len(kept("again.jsonl", "--similarity", "0.95", "--ngram", "2", "--hashes", "64")) == 3
    assert len(kept("again.jsonl", "--unit", "char", "--similarity", "0.6")) == 2
    assert len(kept("again.jsonl", "--no-verify", "--bands", "60", "--rows", "1")) == 2
    assert kept("--field", "id") == ["a", "b", "c"]
    assert kept("--by", "line", "--min-words", "20") == ["a", "b", "c"]
    assert kept("--by", "substring", "--span", "4", "--drop-above", "0.5") == ["a", "c"]
    assert kept("--memory", "1MiB", "--workers", "1", "--executor", "inline") == ["b", "c"]
    assert kept("--rejects", "r.jsonl", "--clusters", "c.jsonl") == ["b", "c"]
    assert json.loads(Path("c.jsonl").read_text())["keeper"] == "b"
    assert kept("--save-index", "index") == ["b", "c"]
    assert kept("--against", "index") == []
    assert kept("--by", "exact", "--unbuffered") == ["a", "b", "c"]
    chain = ("--transitive", "--similarity", "0.3")
    assert len(kept("again.jsonl", *chain)) <= len(kept("again.jsonl", "--similarity", "0.3"))


def test_too_many_duplicates_exit_1_with_the_output_written(llmkit_run, documents: bytes) -> None:
    done = llmkit_run("dedup", "docs.jsonl", "-o", "out.jsonl", "--fail-if-dropped-over", "0.1")
    assert done.status == 1 and "33.3%" in done.err and Path("out.jsonl").exists()


@pytest.mark.parametrize(("most", "status"), [("10%", 1), ("34%", 0), ("1", 0), ("10", 2), ("nan", 2)])
def test_a_gate_that_nothing_can_fail_is_refused(
    llmkit_run, documents: bytes, most: str, status: int
) -> None:
    done = llmkit_run("dedup", "docs.jsonl", "-o", "out.jsonl", "--fail-if-dropped-over", most)
    assert done.status == status and Path("out.jsonl").exists() == (status != 2)


def test_warnings_are_on_stderr_unless_quiet(llmkit_run, documents: bytes) -> None:
    flags = ("dedup", "docs.jsonl", "--by", "exact")
    assert llmkit_run(*flags).err == (
        "llmkit: warning: no duplicate was found by the key text in 3 documents\n"
    )
    assert llmkit_run(*flags, "-q").err == ""


def test_a_dry_run_is_a_plan(llmkit_run, documents: bytes) -> None:
    plan = json.loads(llmkit_run("dedup", "docs.jsonl", "-n", "--json", "--similarity", "0.8").out)
    assert plan["schema"] == "llmkit.dedup-plan/1" and (plan["bands"], plan["rows"]) == (16, 7)
    assert "97.7% at 0.8" in llmkit_run("dedup", "docs.jsonl", "-n", "--similarity", "0.8").text


def test_a_shard_waits_for_the_others(llmkit_run, documents: bytes) -> None:
    for shard, status in (("2/2", 75), ("1/2", 0)):
        done = llmkit_run("dedup", "docs.jsonl", "-o", "out", "--shard", shard, "--by", "exact")
        assert done.status == status, done.err
    assert Path("out/part-00000.jsonl.zst").exists()
    assert llmkit_run("dedup", "docs.jsonl", "-o", "x", "--shard", "3/2").status == 2
