import shutil
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer import BadParameter

from llmkit.commands.base import Session, build_command, build_group
from llmkit.commands.values import parse_count
from llmkit.errors import ConfigError


def _try(
    ctx: typer.Context,
    inputs: Annotated[list[Path], typer.Argument(metavar="FILE")],
    size: Annotated[int, typer.Option("--size", parser=parse_count, metavar="N")] = 1000,
    out: Annotated[Path | None, typer.Option("--out", "-o")] = None,
    loud: Annotated[bool, typer.Option("--loud")] = False,
) -> None:
    """Try.

    \b
    Examples:
      llmkit try x
    """
    session: Session = ctx.obj
    seen.append((inputs, size, session))


seen: list[tuple[list[Path], int, Session]] = []


def _run(*args: str) -> tuple[list[Path], int, Session]:
    command = build_command("try", _try)
    with command.make_context("llmkit try", list(args)) as ctx:
        command.invoke(ctx)
    return seen[-1]


def test_the_function_never_sees_the_common_options_but_the_session_does() -> None:
    _, _, session = _run("x", "-q", "-v", "--color", "never")
    assert (session.console.quiet, session.console.verbose, session.console.color) == (True, True, "never")


def test_the_invocation_is_what_decides_the_bytes_under_the_names_of_the_flags() -> None:
    _, _, session = _run("/somewhere/x.txt", "--size", "64k", "-o", "/elsewhere/out", "-q")
    assert session.invocation.command_line == "llmkit try x.txt --size 64000"
    assert session.invocation.settings == {"inputs": ["x.txt"], "size": 64000, "loud": False}


def test_a_file_of_settings_stands_below_the_flags_and_above_the_defaults(tmp_path: Path) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text('size = "2Ki"\nloud = true\ninputs = ["a", "b"]\nquiet = true\n')
    inputs, size, session = _run("--config", str(settings))
    assert (inputs, size, session.console.quiet) == ([Path("a"), Path("b")], 2048, True)
    assert session.invocation.settings["loud"] is True
    assert _run(f"--config={settings}", "--size", "7", "c")[:2] == ([Path("c")], 7)


@pytest.mark.parametrize("words", [["--config", ""], ["--config="]])
def test_an_empty_name_of_settings_is_refused_as_any_empty_path_is(words: list[str]) -> None:
    with pytest.raises(BadParameter, match="it is empty") as caught:
        _run("x", *words)
    assert "'--config'" in caught.value.format_message()


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text("sise = 4\n")
    with pytest.raises(ConfigError, match="unknown key 'sise' for llmkit try") as caught:
        _run("x", "--config", str(settings))
    assert caught.value.hint == "did you mean size?"


def test_print_config_prints_what_config_reads_and_runs_nothing(tmp_path: Path, capsys: Any) -> None:
    before = len(seen)
    command = build_command("try", _try)
    with command.make_context("llmkit try", ["--size", "5k", "--print-config"]) as ctx:
        command.invoke(ctx)  # the required FILE may come later
    printed = capsys.readouterr().out
    assert printed == "size = 5000\nloud = false\n" and len(seen) == before
    settings = tmp_path / "s.toml"
    settings.write_text(printed)
    assert _run("x", "--config", str(settings))[1] == 5000


def test_help_names_arguments_plainly_within_80_columns() -> None:
    with build_command("try", _try).make_context("llmkit try", [], resilient_parsing=True) as ctx:
        text = ctx.get_help()
    assert text.startswith("Usage: llmkit try [OPTIONS] FILE...\n")
    assert "\n  FILE" in text and "list[Path]" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_group_lists_its_commands() -> None:
    group = build_group("things", "Do things.", {"try": _try})
    with group.make_context("llmkit things", ["try", "x"]) as ctx:
        group.invoke(ctx)
    assert seen[-1][0] == [Path("x")]
    assert group.list_commands(ctx) == ["try"]


def test_a_group_lists_whole_sentences() -> None:
    def one() -> None:
        """Say something that is much longer than what fits one line of a terminal, to the very end of it.

        More of it.
        """

    group = build_group("many", "Many.", {"one": one})
    with group.make_context("llmkit many", [], resilient_parsing=True) as ctx:
        told = " ".join(group.get_help(ctx).split())
    assert "to the very end of it." in told and "More of it" not in told


def test_a_default_that_counts_is_shown_as_it_may_be_typed() -> None:
    def one(
        size: Annotated[int, typer.Option(parser=parse_count)] = 5_000_000_000,
        many: Annotated[int, typer.Option()] = 50_000,
    ) -> None:
        """Do it."""

    with build_command("one", one).make_context("llmkit one", [], resilient_parsing=True) as ctx:
        text = ctx.get_help()
    assert "[default: 5G]" in text and "[default: 50000]" in text


@pytest.mark.parametrize(
    "line", ["chat -m {model} --transcript {bad} --resume", "eval score {bad} --match exact"]
)
def test_a_flag_that_a_command_has_not_is_in_no_hint_of_its_own(
    llmkit_run: Any, tiny_model: Any, byte_level_dir: Path, tmp_path: Path, line: str
) -> None:
    folder, bad = tiny_model(vocab_size=600), tmp_path / "bad.jsonl"
    shutil.copytree(byte_level_dir, folder, dirs_exist_ok=True)
    bad.write_text("{bad\n")
    done = llmkit_run(*(word.format(model=folder, bad=bad) for word in line.split()), stdin=b"")
    assert done.status == 3 and done.err.endswith("\n  hint: mend the line\n")
    skips = llmkit_run("tokenize", "-t", folder, bad)
    assert skips.status == 3 and skips.err.endswith("or pass over bad lines with --skip-bad\n")
