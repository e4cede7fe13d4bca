"""Every output of every command, the second ones too: what cannot be written is found before any work."""

import os

import pytest
from contract_table import TABLE
from workbench import Workbench

from llmkit.cli import build_cli
from llmkit.commands.documentation import CommandPage, Flag, read_pages

WRITTEN = {
    *("out", "output", "clusters", "edges", "html", "log", "make_rule", "metrics", "per_record", "png"),
    *("prompt_cache", "rejects", "report", "save", "save_imatrix", "index_out", "svg", "tensorboard"),
    *("transcript", "usage", "unix_socket", "admin_socket"),
}
"""Parameters that name what is written; `prompts` is one of `eval needle` alone."""
READ = {
    *("a", "b", "against", "answers", "base", "baseline", "calibrate", "calibration", "compare", "data"),
    *("dev", "devices", "diff", "embed", "embed_key", "file", "files_from", "files0_from", "haystack"),
    *("imatrix", "index", "index_key", "inputs", "jsonl", "keys", "lang_model", "model", "outputs", "paths"),
    *("prices", "queries", "questions", "reference", "replay", "rerank", "retrieve_embed_key", "text"),
    *("retrieve_key", "rules", "score", "tasks", "teacher", "template", "tls_cert", "tls_key"),
    *("tokenizer", "turns", "valid", "worker_key", "config", "api_key_file"),
}
LINES = {
    ("generate", "rejects"): "llmkit generate -m run --jsonl prompts.jsonl",
    ("man", "out"): "llmkit man --all",
    ("quantize", "out"): "llmkit quantize run --type int4-g32",
    ("quantize", "output"): "llmkit quantize run {}",
    ("quantize", "save_imatrix"): "llmkit quantize run -c docs.jsonl",
    ("convert", "out"): "llmkit convert run {}",
    ("show", "html"): "llmkit show run",
    ("tokenize", "out"): "llmkit tokenize -t tok --jsonl docs.jsonl",
    ("tokenize", "rejects"): "llmkit tokenize -t tok --jsonl docs.jsonl",
}
"""Where the line of the contract says something else; {} is the place of an argument."""


def pages() -> dict[str, CommandPage]:
    """The commands that do something, by name."""
    return {
        " ".join(page.path): page for page in read_pages(build_cli()) if page.path and not page.subcommands
    }


def paths_of(page: CommandPage) -> list[Flag]:
    """Flags and arguments that take a path."""
    return [flag for flag in (*page.arguments, *page.options) if flag.is_path]


def is_written(command: str, name: str) -> bool:
    """Whether a parameter names what is written."""
    return name in WRITTEN or (command, name) == ("eval needle", "prompts")


PAGES = pages()
OUTPUTS = [
    (command, flag.name)
    for command, page in PAGES.items()
    for flag in paths_of(page)
    if is_written(command, flag.name)
]


def test_of_every_path_it_is_known_whether_it_is_read_or_written() -> None:
    known = WRITTEN | READ | {"prompts"}
    named = {(command, flag.name) for command, page in PAGES.items() for flag in paths_of(page)}
    assert {(command, name) for command, name in named if name not in known} == set()


def line_of(command: str, name: str, place: str) -> str:
    """A line with an output in a place; the plan alone, where there is one: that does no work."""
    page = PAGES[command]
    line = LINES.get((command, name), TABLE[command].result.format(n=1)).replace(" --metrics -", "")
    flag = next(flag for flag in paths_of(page) if flag.name == name)
    line = f"{line} {flag.names[-1]} {place}" if flag.names else line.format(place)
    has_plan = any("--dry-run" in option.names for option in page.options)
    return line if not has_plan or "--dry-run" in line else f"{line} --dry-run"


@pytest.mark.parametrize(("command", "name"), OUTPUTS)
def test_an_output_that_cannot_be_written_is_found_before_any_work(
    bench: Workbench, command: str, name: str
) -> None:
    before = sorted(bench.folder.rglob("*"))
    done = bench.run(line_of(command, name, "corpus.txt/below.html"))
    assert done.status == 2 and done.out == b"", done.err
    problem, hint = done.err.splitlines()
    assert problem.startswith("llmkit: error: corpus.txt/below.html") and "is no folder" in problem
    assert hint.startswith("  hint: ")
    assert sorted(bench.folder.rglob("*")) == before


ADDED_TO = {
    "log",
    "usage",
    "unix_socket",
    "admin_socket",
    "prompt_cache",
    "tensorboard",
    "metrics",
    "make_rule",
}
"""Files that are brought up to date where they are there already, or replaced as make would have it."""


@pytest.mark.parametrize(("command", "name"), [one for one in OUTPUTS if one[1] not in ADDED_TO])
def test_an_output_that_is_there_is_found_before_any_work(copy: Workbench, command: str, name: str) -> None:
    folder, file = copy.folder / "folder.html", copy.folder / "mine.html"
    folder.mkdir()
    (folder / "llmkit.1").write_bytes(b"precious")
    file.write_bytes(b"precious")
    if name in ("out", "output", "index_out"):
        done = copy.run(line_of(command, name, "folder.html"))
        assert done.status == 2 and "folder.html" in done.err.splitlines()[0], done.err
    else:
        done = copy.run(line_of(command, name, "mine.html"))
        assert done.status == 2 and "mine.html: already exists" in done.err.splitlines()[0], done.err
        forced = copy.run(f"{line_of(command, name, 'folder.html')} --force")
        assert forced.status == 2 and "folder.html: is a folder" in forced.err.splitlines()[0], forced.err
    assert done.out == b"" and len(done.err.splitlines()) == 2
    assert file.read_bytes() == (folder / "llmkit.1").read_bytes() == b"precious"


FOLDERS = [
    *(("train-tokenizer", "out"), ("pack", "out"), ("merge", "out"), ("retrieve index", "out")),
    *(("convert", "out"), ("quantize", "output"), ("dedup", "index_out")),
]
"""Outputs that take the place of what has their name."""


@pytest.mark.parametrize(("command", "name"), FOLDERS)
def test_a_pipe_or_a_device_gives_its_place_to_no_output(copy: Workbench, command: str, name: str) -> None:
    # root's /dev/null became a folder, and every process of the machine wrote into it
    os.mkfifo(copy.folder / "pipe")
    line = line_of(command, name, "pipe").replace(" --dry-run", "").replace(" -o out.1", "")
    done = copy.run(f"{line} --force")
    assert done.status == 2 and "pipe: a pipe or a device, and a" in done.err, done.err
    assert done.out == b"" and len(done.err.splitlines()) == 2
    assert (copy.folder / "pipe").is_fifo()
