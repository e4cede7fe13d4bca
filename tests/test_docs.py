"""What is written about llmkit holds: README and examples run, generated files are up to date."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zygote import EXECUTABLE

from llmkit.cli import COMMANDS, build_cli
from llmkit.commands.completion.text import completion_script
from llmkit.commands.documentation import EXIT_STATUSES, read_pages
from llmkit.commands.man.text import man_page
from llmkit.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PAGES = read_pages(build_cli())
EXAMPLES = sorted((ROOT / "examples").glob("*.sh"))
MINUTES_LONG = {
    "quickstart.sh": "`make quickstart` runs it",
    "needle.sh": "a model learns to look things up",
    "tools.sh": "a model learns to call programs",
}
FOREIGN = {
    "--local-dir": "hf",
    "--description": "fish",
    "--schema": "a program that a model may call",
    **dict.fromkeys(("--pure", "--tensor-type", "--kl-divergence", "--cache-type-k"), "llama.cpp"),
    **dict.fromkeys(("--force-reinstall", "--no-deps"), "pip"),
    "--rampup-batch-size": "Megatron-LM",
    **dict.fromkeys(("--address", "--http-host"), "Ray"),
}
"""Flags that the package speaks of and that are another program's."""
COMPLETIONS = {"bash": "llmkit.bash", "zsh": "_llmkit", "fish": "llmkit.fish"}


Lines = Callable[[str, Path], subprocess.CompletedProcess[str]]


@pytest.fixture
def bash(forked_llmkit: Path, forked_python: Path) -> Lines:
    """Run lines of a shell in a folder, each `llmkit` a fork that need not import torch again."""

    def call(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        for tool in ("jq", "zstd", "curl"):
            if re.search(rf"\b{tool} -", script) and shutil.which(tool) is None:
                pytest.skip(f"no {tool} on this machine")
        path = os.pathsep.join([str(forked_llmkit), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", EXECUTABLE: str(forked_python)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return call


def test_the_readmes_tour_runs_from_top_to_bottom_in_an_empty_folder(bash: Lines, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) > 5
    done = bash("set -x\n" + "".join(blocks), tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"\bllmkit ([a-z][a-z-]*)", text)) | {"man", "bench"}  # man is read with man(1)
    assert set(COMMANDS) <= shown


def test_what_the_readme_says_to_type_has_only_flags_of_its_command() -> None:
    flags = {page.command: {name for one in page.options for name in one.names} for page in PAGES}
    lines = re.findall(r"`(llmkit [a-z][^`]*)`", (ROOT / "README.md").read_text())
    assert len(lines) > 20
    for line in lines:
        name = max((one for one in flags if f"{line} ".startswith(f"{one} ")), key=len)
        assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", line)) <= flags[name], line


def test_the_readmes_exit_statuses_are_the_programs() -> None:
    text = (ROOT / "README.md").read_text()
    for code, meaning in EXIT_STATUSES:
        if code < 130:
            assert f"| {code} | {meaning} |" in text


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_in_a_folder_of_its_own_and_leaves_nothing(
    script: Path, bash: Lines, tmp_path: Path
) -> None:
    if script.name in MINUTES_LONG:
        pytest.skip(f"minutes long: {MINUTES_LONG[script.name]}")
    done = bash(f"export TMPDIR=$PWD\nbash {script}\ncat {script} > /dev/null", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_there_is_an_example_for_every_command() -> None:
    text = "".join(path.read_text() for path in EXAMPLES)
    for name in set(COMMANDS) - {"man", "completion"}:
        assert f"llmkit {name} " in text, name


@pytest.mark.parametrize(
    "script", sorted((ROOT / "tests" / "bench").glob("*.py")), ids=lambda path: path.name
)
def test_every_script_that_measures_reads_its_words_by_argparse_and_so_answers_help(script: Path) -> None:
    text = script.read_text()
    assert "ArgumentParser(" in text and ".parse_args(" in text


def test_the_manual_pages_are_those_of_the_flags() -> None:
    made = {f"{page.title}.1": man_page(page, PAGES) for page in PAGES}
    found = {path.name: path.read_text() for path in (ROOT / "man").iterdir()}
    assert sorted(found) == sorted(made), "make docs"
    assert [name for name in made if made[name] != found[name]] == [], "make docs"


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_the_completion_scripts_are_those_of_the_flags(shell: str) -> None:
    found = (ROOT / "completions" / COMPLETIONS[shell]).read_text()
    assert found == completion_script(shell, PAGES), "make docs"


def test_the_changelog_knows_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{__version__}]" in text


def test_nothing_names_a_place_on_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    marks = [f"/{word}/" for word in ("work", "root", "home")]
    wrong = [
        f"{name}: {mark}"
        for name in listed.stdout.splitlines()
        for mark in marks
        if (ROOT / name).is_file()
        and mark in (ROOT / name).read_text(encoding="utf-8", errors="ignore").replace("/home/me", "")
    ]
    assert wrong == []


@functools.cache
def _strings() -> tuple[tuple[str, str], ...]:
    """Every text in the package, its file and line before it; X stands for what an f-string fills in."""
    found: list[tuple[str, str]] = []
    for path in sorted((ROOT / "llmkit").rglob("*.py")):
        name = path.relative_to(ROOT)
        todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "X" for one in node.values]
                found.append((f"{name}:{node.lineno}", "".join(map(str, parts))))
                todo += [one for one in node.values if not isinstance(one, ast.Constant)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((f"{name}:{node.lineno}", node.value))
            else:
                todo += ast.iter_child_nodes(node)
    return tuple(found)


def _flags_in(text: str) -> list[str]:
    """Whole ones: of `--on-X`, which is one of several, nobody knows which."""
    return re.findall(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])", text)


def test_no_text_of_the_package_names_a_flag_that_no_command_has() -> None:
    known = {name for page in PAGES for flag in page.options for name in flag.names} | {"--help"}
    named = {
        (flag, where)
        for where, text in _strings()
        if "<style>" not in text  # which has variables that look like flags
        for flag in _flags_in(text)
        if flag not in known
    }
    assert {one for one in named if one[0] not in FOREIGN} == set()
    assert {flag for flag, _ in named} == set(FOREIGN), "the list has one that is named no more"


def test_a_line_of_llmkit_in_a_text_has_only_flags_of_its_command() -> None:
    flags: dict[str, set[str]] = {}
    for page in PAGES:
        for depth in range(1, len(page.path) + 1):  # a group's are those of its commands
            known = flags.setdefault(" ".join(page.path[:depth]), {"--help"})
            known |= {name for one in page.options for name in one.names}
    wrong = []
    for where, text in _strings():
        for words in re.findall(r"llmkit ((?:(?!llmkit )[^\n|;`])*)", text):
            line = re.split(r"[,:] | \(", words)[0]  # behind them a sentence goes on
            name = max((one for one in flags if f"{line} ".startswith(f"{one} ")), key=len, default=None)
            wrong += [(where, line) for flag in _flags_in(line) if name and flag not in flags[name]]
    assert wrong == []
