"""--config and --print-config: what one prints the other reads, for every command."""

import shlex
from pathlib import Path

import pytest
from contract_table import TABLE

from llmkit.cli import build_cli
from llmkit.commands.documentation import CommandPage, read_pages

LEAVES = [page for page in read_pages(build_cli()) if page.path and not page.subcommands]
ids = pytest.mark.parametrize("page", LEAVES, ids=lambda page: "-".join(page.path))


@ids
def test_what_is_printed_is_read_back_the_same(llmkit_run, page: CommandPage, tmp_path: Path) -> None:
    line = shlex.split(TABLE[" ".join(page.path)].result.format(n=1))[1:]
    printed = llmkit_run(*line, "--print-config")
    assert printed.status == 0, printed.err
    path = tmp_path / "settings.toml"
    path.write_bytes(printed.out)
    again = llmkit_run(*page.path, "--config", path, "--print-config")
    assert again.text == printed.text


@ids
def test_an_unknown_key_is_2_and_names_the_nearest(llmkit_run, page: CommandPage, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("quite = true\n")
    done = llmkit_run(*page.path, "--config", path)
    assert done.status == 2 and done.out == b""
    assert done.err == (
        f"llmkit: error: {path}: unknown key 'quite' for {page.command}\n  hint: did you mean quiet?\n"
    )


@ids
def test_a_settings_file_that_is_not_there_is_4(llmkit_run, page: CommandPage, tmp_path: Path) -> None:
    assert llmkit_run(*page.path, "--config", tmp_path / "none.toml").status == 4


@pytest.mark.parametrize(
    ("line", "peers", "own"),
    [
        (("generate", "-m", "m"), ("--adapters", "a=b"), ("--adapter", "a=b")),
        (("generate", "-m", "m"), ("--chat-template-config", "{}"), ("--chat-template-kwargs", "{}")),
        (("quantize", "m", "out"), ("--calib", "c.txt"), ("--calibration", "c.txt")),
        (("eval", "kl", "m", "t"), ("--ref", "r"), ("--reference", "r")),
    ],
)
def test_a_flag_by_a_peers_name_is_the_same_setting(
    line: tuple[str, ...], peers: tuple[str, ...], own: tuple[str, ...], llmkit_run
) -> None:
    said, ours, silent = (llmkit_run(*line, *flags, "--print-config") for flags in (peers, own, ()))
    assert said.status == ours.status == 0 and said.out == ours.out != silent.out
