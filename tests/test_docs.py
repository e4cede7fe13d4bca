"""What is written about llmkit holds: README and examples run, generated files are up to date."""

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
