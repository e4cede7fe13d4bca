"""The contract of the command line, for every command: one row each in contract_table.py."""

import json
import os
import re
from pathlib import Path

import pytest
from contract_table import TABLE
from workbench import REAL, Workbench

from llmkit.cli import build_cli
from llmkit.commands.documentation import read_pages

GOOD_LINE = '{"id": "1", "text": "hello", "tokens": [5], "prompt": "a"}'
BAD_LINE = '{"id": "2", "text": '
ANOTHER_LINE = '{"id": "3", "text": "world", "tokens": [6], "prompt": "b"}'
BAD = f"{GOOD_LINE}\n{BAD_LINE}\n{ANOTHER_LINE}\n"


QUICK = {
    *("eval score", "eval diff", "kv-estimate", "show", "diff", "doctor", "completion", "man"),
    *("retrieve query", "retrieve context", "retrieve eval", "inspect-attention"),
}
"""Commands that write no artefact and do not run for long, so that they may be without a plan."""
MEASURING = {"bench prefill", "bench load", "bench train"}
"""Commands that end as `bench decode` does: of each real process two seconds are the machine's top speed."""


def rows(kind: str) -> pytest.MarkDecorator:
    """The commands that have such a line."""
    return pytest.mark.parametrize("command", [name for name, lines in TABLE.items() if getattr(lines, kind)])


def assert_error(done, status: int, *says: str) -> None:
    """The documented status and two lines, with nothing on stdout."""
    assert done.status == status, done.err
    assert done.out == b""
    first, second = done.err.splitlines()
    assert first.startswith("llmkit: error: ") and second.startswith("  hint: ")
    for text in says:
        assert text in first


def test_every_command_has_a_row() -> None:
    leaves = {" ".join(page.path) for page in read_pages(build_cli()) if page.path and not page.subcommands}
    assert set(TABLE) == leaves


def planning() -> list[str]:
    """The commands that tell their plan."""
    pages = [page for page in read_pages(build_cli()) if page.path and not page.subcommands]
    flagged = [page for page in pages if any("--dry-run" in flag.names for flag in page.options)]
    return [" ".join(page.path) for page in flagged]


def test_n_is_the_plan_in_every_command_that_has_it_and_nothing_else() -> None:
    flags = [flag.names for page in read_pages(build_cli()) for flag in page.options]
    assert {names for names in flags if {"-n", "--n", "--dry-run"} & {*names}} == {("-n", "--dry-run")}


def test_every_command_that_writes_or_runs_for_long_has_a_plan() -> None:
    assert set(TABLE) - set(planning()) <= QUICK


def with_json() -> list[str]:
    """The commands whose report can be JSON."""
    pages = [page for page in read_pages(build_cli()) if page.path and not page.subcommands]
    return [" ".join(page.path) for page in pages if any("--json" in flag.names for flag in page.options)]


@pytest.mark.parametrize("command", planning())
def test_a_plan_is_text_and_json_and_leaves_nothing(copy: Workbench, command: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.folder.rglob("*")}
    line = TABLE[command].result.format(n=1)
    line = line.replace(" --print-config", " --url http://127.0.0.1:9").replace(" --metrics -", "")
    line = line.replace(" --json", "").replace(" --dry-run", "") + " --dry-run"
    as_json = "--format json" if command.startswith("bench ") else "--json"
    text, told = copy.run(f"{line} -q"), copy.run(f"{line} {as_json} -q")
    assert (text.status, told.status) == (0, 0), text.err + told.err
    assert text.out != b"" and isinstance(json.loads(told.out)["schema"], str)
    assert {path: path.stat().st_mtime_ns for path in copy.folder.rglob("*")} == before


@rows("result")
@pytest.mark.parametrize("reader", ["true", "head -n 1", "head -c 1"])
def test_a_reader_that_leaves_is_a_success_and_nothing_is_said(
    copy: Workbench, command: str, reader: str
) -> None:
    is_real = reader == "head -n 1" and not TABLE[command].writes and command not in MEASURING
    done = copy.run(f"{TABLE[command].result.format(n=1)} -q | {reader}", **(REAL if is_real else {}))
    assert (done.status, done.err) == (0, "")


@rows("stdin")
def test_stdin_gives_what_the_named_file_gives(copy: Workbench, command: str) -> None:
    named, piped = (copy.run(line) for line in TABLE[command].stdin)
    assert named.status == piped.status == 0, named.err + piped.err
    assert named.out == piped.out != b""


@rows("malformed")
def test_a_malformed_line_is_named_by_file_and_line(copy: Workbench, command: str) -> None:
    (copy.folder / "bad.jsonl").write_text(BAD)
    assert_error(copy.run(TABLE[command].malformed), 3, "bad.jsonl:2: ")
    assert not (copy.folder / "out").exists()


@rows("skip_bad")
def test_bad_lines_can_be_passed_over_and_kept(copy: Workbench, command: str) -> None:
    (copy.folder / "bad.jsonl").write_text(BAD)
    done = copy.run(f"{TABLE[command].skip_bad} --rejects rejects.jsonl")
    assert done.status == 0, done.err
    (reject,) = (json.loads(line) for line in (copy.folder / "rejects.jsonl").read_text().splitlines())
    assert reject["_reject"]["line"] == 2 and reject["_line"] == BAD_LINE


@rows("missing")
def test_a_missing_input_is_4_and_named(copy: Workbench, command: str) -> None:
    assert_error(copy.run(TABLE[command].missing), 4, "nowhere")
    assert not (copy.folder / "out").exists()


@pytest.mark.parametrize("command", TABLE)
def test_names_need_not_be_utf8(copy: Workbench, command: str) -> None:
    """`out`, and the files and folders of the workbench that a line names, begin with a byte that is none."""
    line = TABLE[command].writes or TABLE[command].result.format(n=1)
    as_json = command in with_json() and not re.search("--(jsonl|metrics|offsets)", line)
    words = line.removeprefix(f"llmkit {command}")
    for name in {path.name for path in copy.folder.iterdir() if path.name in line} | {"out", "out.1"}:
        if (copy.folder / name).exists():
            (copy.folder / name).rename(copy.folder / os.fsdecode(b"\xff" + name.encode()))
        words = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w./])", rf"$'\\xff'{name}", words)
    done = copy.run(f"llmkit {command}{words}{' --json' if as_json else ''}")
    assert done.status == 0, done.err
    if as_json:
        assert all(map(json.loads, done.out.splitlines()))


@rows("writes")
def test_an_existing_output_is_refused_and_kept_until_forced(copy: Workbench, command: str) -> None:
    out, line = copy.folder / "out", TABLE[command].writes
    assert copy.run(line).status == 0
    first = _contents(out)
    marker = out / "marker" if out.is_dir() else out
    marker.write_bytes(b"mine")
    refused = copy.run(line)
    assert refused.status == 2 and "already exists" in refused.err and "--force" in refused.err
    assert refused.out == b"" and marker.read_bytes() == b"mine"
    assert copy.run(f"{line} --force", **REAL).status == 0
    again = _contents(out)
    again.pop("marker", None)
    assert again == first  # and the same bytes twice, whatever the order of sets


@rows("is_input")
def test_an_output_that_is_an_input_is_refused_even_with_force(copy: Workbench, command: str) -> None:
    docs = copy.folder / "docs"
    docs.mkdir()
    for name in ("docs.jsonl", "tokens.jsonl"):
        (docs / name).write_bytes((copy.folder / name).read_bytes())
    before = _contents(copy.folder)
    assert_error(copy.run(TABLE[command].is_input), 2, "input")
    assert _contents(copy.folder) == before


@rows("in_input")
def test_a_file_of_a_folder_that_is_read_is_refused_even_with_force(copy: Workbench, command: str) -> None:
    before = _contents(copy.folder)
    assert_error(copy.run(TABLE[command].in_input), 2, "input")
    assert _contents(copy.folder) == before


def test_no_input_on_a_terminal_is_usage_at_once(copy: Workbench) -> None:
    for line in (
        *("tokenize -t tok", "pack -t tok -o out", "train-tokenizer -o out", "show", "kv-estimate"),
        *("dedup -o out",),
    ):
        done = copy.run(f"script -qec 'llmkit {line} > stdout 2> stderr' /dev/null; echo $?")
        error = (copy.folder / "stderr").read_text()
        assert done.text.strip().endswith("2") and "hint: " in error, (line, error)
        assert (copy.folder / "stdout").read_bytes() == b""


@pytest.mark.parametrize(
    "line",
    [
        "llmkit pretrain --data shards -t tok -o out --steps 1",
        "llmkit show shards --verify",
        "llmkit show shards --row 0",
    ],
)
def test_a_truncated_shard_is_bad_data(copy: Workbench, line: str) -> None:
    shard = copy.folder / "shards" / "shard-00000.tok.zst"
    shard.write_bytes(shard.read_bytes()[:-100])
    done = copy.run(line)
    assert done.status == 3 and "shard-00000.tok.zst" in done.err and "Traceback" not in done.err
    assert not (copy.folder / "out").exists()


@pytest.mark.parametrize(
    "line",
    [
        "llmkit pretrain --data shards -t tok2 -o out --steps 1",
        "llmkit show shards --row 0 --decode -t tok2",
    ],
)
def test_a_tokenizer_that_does_not_belong_is_3(copy: Workbench, line: str) -> None:
    assert copy.run("llmkit train-tokenizer valid.txt --vocab-size 300 -o tok2").status == 0
    assert_error(copy.run(line), 3, "tok")
    assert not (copy.folder / "out").exists()


@rows("writes")
def test_a_full_disk_is_5_and_the_old_output_stays(copy: Workbench, command: str, small_disk) -> None:
    disk = small_disk(64 * 1024)
    line = TABLE[command].writes.replace("-o out", f"-o {disk}/out")
    line = line.replace(" run out", f" run {disk}/out")
    line = line.replace("corpus.txt", "big.txt").replace("docs.jsonl", "big.jsonl")
    line = line.replace("tokens.jsonl", "big-tokens.jsonl").replace("prompts.jsonl", "big-prompts.jsonl")
    _write_big(copy.folder)
    (disk / "out").mkdir() if (command in ("pack", "train-tokenizer", "man")) else (disk / "out").touch()
    name = "llmkit.1" if command == "man" else "llmkit.json"  # what --force may replace
    keep = disk / "out" / name if (disk / "out").is_dir() else disk / "out"
    keep.write_bytes(b"old")
    done = copy.run(f"{line} --force")
    assert done.status == 5, (done.status, done.err)
    assert done.err.count("\n") == 2 and "  hint: " in done.err
    if command != "man":  # its pages are files of their own
        assert keep.read_bytes() == b"old"
        assert sorted(path.name for path in disk.iterdir()) == ["out"]


@rows("result")
def test_a_full_disk_behind_stdout_is_5(copy: Workbench, command: str) -> None:
    done = copy.run(f"{TABLE[command].result.format(n=1)} > /dev/full")
    assert done.status == 5
    assert done.err.startswith("llmkit: error: ") and done.err.count("\n") == 2


def _write_big(folder: Path) -> None:
    """Inputs whose outputs do not fit a small disk, made quickly from the small ones."""
    text = (folder / "corpus.txt").read_text()
    (folder / "big.txt").write_text(text + "".join(chr(0x4E00 + n) for n in range(20_000)))
    for name in ("docs", "tokens", "prompts"):
        (folder / f"big-{name}.jsonl").write_bytes((folder / f"{name}.jsonl").read_bytes() * 20)
    (folder / "big.jsonl").write_bytes((folder / "big-docs.jsonl").read_bytes())


def _contents(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
