import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from llmkit.cli import build_cli
from llmkit.commands.completion.text import completion_script
from llmkit.commands.documentation import CommandPage, read_pages

CASES = [
    ("llmkit tok", "tokenize"),
    ("llmkit tokenize --kee", "--keep"),
    ("llmkit tokenize --keep mid", "middle"),
    ("llmkit bench tok", "tokenize"),
    ("llmkit bench tokenize --rou", "--rounds"),
    ("llmkit completion zs", "zsh"),
    ("llmkit man toke", "tokenize"),
    ("llmkit man eval pp", "ppl"),
    ("llmkit man bench pre", "prefill"),
    ("llmkit show a_file_of", "a_file_of_mine.jsonl"),
    ("llmkit tokenize -t a_file_of", "a_file_of_mine.jsonl"),
]


@pytest.fixture(scope="module")
def pages() -> list[CommandPage]:
    return read_pages(build_cli())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a_file_of_mine.jsonl").touch()
    return tmp_path


def _script(shell: str, pages: list[CommandPage], folder: Path) -> Path:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    script = folder / f"_script.{shell}"
    script.write_text(completion_script(shell, pages))
    return script


def _ask_bash(script: Path, *words: str) -> list[str]:
    """What a TAB offers at the end of these words, split as readline splits them."""
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _llmkit 2>&-; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", ask, "-", script, *words], cwd=script.parent, capture_output=True, text=True
    )
    return done.stdout.split()


def test_bash_completes_commands_flags_choices_and_files(pages: list[CommandPage], folder: Path) -> None:
    script = _script("bash", pages, folder)
    for line, wanted in CASES:
        words = _ask_bash(script, *line.split())
        assert wanted in words, (line, words)
        assert all(word.startswith(line.split()[-1]) for word in words), (line, words)


def test_bash_completes_after_an_equals_sign(pages: list[CommandPage], folder: Path) -> None:
    script = _script("bash", pages, folder)
    assert _ask_bash(script, "llmkit", "tokenize", "--keep", "=", "mid") == ["middle"]


def test_bash_offers_no_flag_where_a_flag_wants_its_value(pages: list[CommandPage], folder: Path) -> None:
    assert _ask_bash(_script("bash", pages, folder), "llmkit", "tokenize", "--text", "--") == []


def test_fish_completes_commands_flags_choices_and_files(pages: list[CommandPage], folder: Path) -> None:
    script = _script("fish", pages, folder)
    asked = "; ".join(f"echo @; complete -C '{line}'" for line, _ in CASES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; {asked}"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.stderr == ""
    answers = done.stdout.split("@\n")[1:]
    for (line, wanted), answer in zip(CASES, answers, strict=True):
        words = [row.split("\t")[0] for row in answer.splitlines()]
        assert wanted in words, (line, words)


def test_zsh_completes_commands_flags_choices_and_files(pages: list[CommandPage], folder: Path) -> None:
    script = _script("zsh", pages, folder)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "HOME": str(folder)})
    try:
        os.write(
            terminal, f"PS1=; autoload -Uz compinit; compinit -D -u; source {script}; echo rea''dy\n".encode()
        )
        _read_until(terminal, "ready\r")
        for line, wanted in CASES:
            os.write(terminal, f"{line}\t".encode())
            _read_until(terminal, re.escape(wanted))
            os.write(terminal, b"\x15")  # ctrl-u empties the line
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def _read_until(terminal: int, pattern: str, seconds: float = 20.0) -> None:
    """Read the terminal until the pattern shows on it."""
    seen, end = "", time.monotonic() + seconds
    while not re.search(pattern, seen):
        assert time.monotonic() < end, f"{pattern!r} did not show: {seen!r}"
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")


def test_each_script_says_how_it_was_made_and_starts_no_python(pages: list[CommandPage]) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = completion_script(shell, pages)
        assert f"made by: llmkit completion {shell}" in script
        assert "python" not in script.lower() and "_LLMKIT_COMPLETE" not in script
