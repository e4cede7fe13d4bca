"""llmkit tokenize on the command line: exit statuses, streams, colour, closed pipes."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

Run = Callable[..., Any]


@pytest.fixture
def tok(byte_level_dir: Path) -> list[object]:
    return ["tokenize", "-t", byte_level_dir]


def test_stdin_is_counted_when_nothing_is_named(llmkit_run: Run, tok: list[object]) -> None:
    done = llmkit_run(*tok, "--format", "tsv", stdin=b"the License")
    assert done.status == 0
    assert done.text.split("\t")[1:] == ["11", "stdin\n"]


def test_a_literal_text_has_no_name(llmkit_run: Run, tok: list[object]) -> None:
    assert llmkit_run(*tok, "--text", "the License").text.split() == ["3", "11"]


def test_files_named_in_a_file_are_those_named_on_the_line(
    llmkit_run: Run, tok: list[object], tmp_path: Path
) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, text in zip(paths, ("the License", "the"), strict=True):
        path.write_text(text)
    (tmp_path / "names").write_text("".join(f"{path}\n" for path in paths))
    named = llmkit_run(*tok, "--format", "tsv", *paths).out
    assert llmkit_run(*tok, "--format", "tsv", "--files-from", tmp_path / "names").out == named
    assert named.count(b"\n") >= 2


def test_over_the_budget_is_exit_1_with_two_lines(llmkit_run: Run, tok: list[object], tmp_path: Path) -> None:
    path = tmp_path / "p.md"
    path.write_text("license " * 100)
    done = llmkit_run(*tok, "--max", "20", path)
    assert done.status == 1
    first, second = done.err.splitlines()
    assert first.startswith("llmkit: error: 1 of 1 documents are over 20 tokens: ")
    assert second == "  hint: llmkit tokenize --truncate 20 shortens them"
    assert "over by" in done.text
    assert llmkit_run(*tok, "--max", "1k", path).status == 0


@pytest.mark.parametrize("price", ["nan", "inf", "much"])
def test_a_price_is_a_finite_number(llmkit_run: Run, tok: list[object], price: str) -> None:
    done = llmkit_run(*tok, "--price", price, "--text", "a")
    assert done.status == 2 and "--price" in done.err


def test_a_price_gives_a_cost(llmkit_run: Run, tok: list[object]) -> None:
    report = msgspec.json.decode(llmkit_run(*tok, "--price", "3", "--json", "--text", "the License").out)
    assert report["total"]["cost"] == pytest.approx(report["total"]["tokens"] * 3 / 1e6)


@pytest.mark.parametrize(
    ("flags", "status", "problem"),
    [
        (["--ids", "--pieces"], 2, "--ids and --pieces are two different results"),
        (["--truncate", "0"], 2, "--truncate 0 leaves no room"),
        (["--keep", "tail"], 2, "--keep does nothing with --count"),
        (["--text", "a", "b"], 2, "--text is one input"),
        (["no-such-file"], 4, "no-such-file: no such file"),
        (["--max", "many"], 2, "'many' is not a number"),
    ],
)
def test_wrong_use_has_its_status_and_two_lines(
    llmkit_run: Run, tok: list[object], flags: list[str], status: int, problem: str
) -> None:
    done = llmkit_run(*tok, *flags)
    assert (done.status, done.out) == (status, b"")
    assert problem in done.err
    assert len(done.err.splitlines()) == 2


def test_a_malformed_line_is_exit_3_and_can_be_passed_over(llmkit_run: Run, tok: list[object]) -> None:
    lines = b'{"text": "a"}\n{"text": \n{"text": "b"}\n'
    done = llmkit_run(*tok, stdin=lines)
    assert done.status == 3
    assert "stdin:2: not a JSON object" in done.err
    done = llmkit_run(*tok, "--skip-bad", "--ids", stdin=lines)
    assert (done.status, len(done.out.splitlines()), done.err) == (0, 2, "1 bad line passed over\n")
    assert llmkit_run(*tok, "--skip-bad", "-q", stdin=lines).err == ""


def test_a_reject_does_not_repeat_its_place(llmkit_run: Run, tok: list[object], tmp_path: Path) -> None:
    rejects = tmp_path / "r.jsonl"
    llmkit_run(*tok, "--rejects", rejects, stdin=b'{"text": "a"}\n{"no": 1}\n')
    why = json.loads(rejects.read_text())["_reject"]
    assert why["error"].startswith('no "text" field') and (why["file"], why["line"]) == ("stdin", 2)


def test_a_records_text_is_left_in_it_where_that_is_said(llmkit_run: Run, tok: list[object]) -> None:
    line = b'{"id":"a","text":"hello"}\n'
    plain, kept = (llmkit_run(*tok, "--jsonl", *more, stdin=line).out for more in ((), ("--keep-text",)))
    (without, record) = map(msgspec.json.decode, (plain, kept))
    assert "text" not in without and record == without | {"text": "hello"}


def test_tokenizers_stand_side_by_side(llmkit_run: Run, tok: list[object]) -> None:
    done = llmkit_run(*tok, "--compare", tok[-1], "--json", stdin=b"hello")
    rows = msgspec.json.decode(done.out)["rows"]
    assert len(rows) == 2 and rows[0]["tokens"] == rows[1]["tokens"] > 0
    assert {row["bytes"] for row in rows} == {5}


def test_an_empty_stdin_has_no_ids(llmkit_run: Run, tok: list[object]) -> None:
    done = llmkit_run(*tok, "--jsonl", stdin=b"")
    assert (done.status, done.out, done.err) == (0, b"", "")


def test_parquet_is_read_and_refused_on_stdin(llmkit_run: Run, tok: list[object], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "docs.parquet"
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.table({"id": ["a", "b"], "text": ["hello", "you"]}), path
    )
    lines = b'{"id":"a","text":"hello"}\n{"id":"b","text":"you"}\n'
    assert llmkit_run(*tok, "--jsonl", path).out == llmkit_run(*tok, "--jsonl", stdin=lines).out != b""
    piped = llmkit_run(*tok, stdin=path.read_bytes())
    assert (piped.status, piped.out) == (2, b"") and "stdin: parquet cannot be piped" in piped.err


def test_ids_behind_a_byte_order_mark_are_decoded(llmkit_run: Run, tok: list[object]) -> None:
    ids = llmkit_run(*tok, "--jsonl", stdin=b"hello").out
    assert llmkit_run(*tok, "--decode", "--format", "text", stdin=b"\xef\xbb\xbf" + ids).out == b"hello"


def test_existing_output_is_refused_and_an_input_always(
    llmkit_run: Run, tok: list[object], tmp_path: Path
) -> None:
    source, out = tmp_path / "a.txt", tmp_path / "out"
    source.write_text("hello")
    assert llmkit_run(*tok, "--ids", source, "-o", out).status == 0
    before = out.read_bytes()
    assert llmkit_run(*tok, "--ids", source, "-o", out).status == 2
    assert llmkit_run(*tok, "--ids", source, "-o", out, "--force").status == 0
    assert llmkit_run(*tok, "--ids", source, "-o", source, "--force").status == 2
    assert (out.read_bytes(), source.read_text()) == (before, "hello")


@pytest.mark.parametrize("variable", ["NO_COLOR", "GITHUB_ACTIONS"])
def test_the_view_has_no_escapes_where_there_is_no_terminal(
    llmkit_run: Run, tok: list[object], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    done = llmkit_run(*tok, "--view", "--text", "the License")
    assert b"\x1b" not in done.out
    assert done.text.count("│") == 2
    assert b"\x1b[" in llmkit_run(*tok, "--view", "--color", "always", "--text", "the License").out


def test_a_dry_run_writes_nothing(llmkit_run: Run, tok: list[object], tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("hello")
    done = llmkit_run(*tok, "--ids", source, "-o", tmp_path / "out", "-n", "--json")
    plan = msgspec.json.decode(done.out)
    assert (plan["mode"], plan["input_bytes"]) == ("ids", 5)
    assert not (tmp_path / "out").exists()


def test_threads_and_unbuffered_change_nothing_but_the_pace(llmkit_run: Run, tok: list[object]) -> None:
    lines = b"".join(b'{"text": "number %d"}\n' % number for number in range(50))
    plain = llmkit_run(*tok, "--ids", stdin=lines).out
    assert llmkit_run(*tok, "--ids", "--threads", "1", stdin=lines).out == plain
    assert llmkit_run(*tok, "--ids", "--unbuffered", stdin=lines).out == plain


def test_unbuffered_answers_each_line_before_the_next_comes(byte_level_dir: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "tokenize", "-t", str(byte_level_dir), "--ids", "--unbuffered"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(2):
        process.stdin.write(b'{"text": "the License"}\n')
        process.stdin.flush()
        assert len(process.stdout.readline().split()) == 3
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_in_a_shell(shell: Run, byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_bytes(b'{"text": "the License grants rights"}\n' * 20_000)
    tokenize = f"llmkit tokenize -t {shlex.quote(str(byte_level_dir))}"
    done = shell(f"{tokenize} --ids docs.jsonl | head -1 | wc -l")  # a reader that leaves is a success
    assert (done.status, done.text.strip(), done.err) == (0, "1", "")
    done = shell(f"printf 'Grüße\\n' | {tokenize} --ids | {tokenize} --decode")
    assert done.text == "Grüße\n"
    done = shell(f"printf 'the License' | {tokenize} --raw u2 | od -An -tu2 | wc -w")
    assert done.text.strip() == "3"
    done = shell(f"{tokenize} --ids docs.jsonl > /dev/full")
    assert (done.status, len(done.err.splitlines())) == (5, 2)


def test_the_budget_pipeline_reads_names_ended_by_zero_bytes(
    shell: Run, byte_level_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "a b.md").write_text("short")
    (tmp_path / "long.md").write_text("license " * 100)
    done = shell(
        "git init -q . && git add *.md && git ls-files -z '*.md' | "
        f"llmkit tokenize -t {shlex.quote(str(byte_level_dir))} --count --max 50 --format tsv --files0-from -"
    )
    assert done.status == 1
    assert [line.split("\t")[-1] for line in done.text.splitlines()] == ["a b.md", "long.md"]
    assert "1 of 2 documents are over 50 tokens: long.md (" in done.err


def test_no_torch_and_no_rich_is_imported(byte_level_dir: Path) -> None:
    program = (
        "import sys; from llmkit.cli import run; "
        f"status = run(['tokenize', '-t', {str(byte_level_dir)!r}, '--text', 'a', '--view']); "
        "sys.exit(status or ' '.join({'torch', 'transformers', 'rich'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
