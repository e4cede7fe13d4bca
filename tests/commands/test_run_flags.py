"""The flags that pretrain and finetune share: the same names, values and words in both."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from llmkit.cli import build_cli
from llmkit.commands import run_flags
from llmkit.errors import UsageError


def _params(command: str) -> dict[str, Any]:
    cli = build_cli()
    found = cli.get_command(typer.Context(cli), command)  # type: ignore[arg-type]
    return {param.name: param for param in found.params}


def _name(alias: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in alias).lstrip("_")


GROUPS = [
    one for one in vars(run_flags).values() if is_dataclass(one) and one.__module__ == run_flags.__name__
]
SHARED = sorted(
    {_name(alias) for alias, value in vars(run_flags).items() if hasattr(value, "__metadata__")}
    | {one.name for group in GROUPS for one in fields(group)}
)
OWN = {"batch_rows", "on_spike", "sample_prompt"}
"""finetune has a default of its own, and says so; pretrain can go back to a checkpoint; a sample is
an answer of the one, and of the other a text that goes on."""
NOT_FOR_EXAMPLES = {"document_mask"}
"""Examples in one row never see each other: that is no choice."""


def test_there_are_flags_to_share() -> None:
    assert {"steps", "clip", "keep", "resume", "threads"} <= set(SHARED)


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_flag_is_the_same_in_both_commands(name: str) -> None:
    ours, theirs = _params("finetune").get(name), _params("pretrain")[name]
    if name in NOT_FOR_EXAMPLES:
        assert ours is None
        return
    assert ours is not None
    assert ours.opts == theirs.opts
    assert ours.metavar == theirs.metavar
    assert (ours.help == theirs.help) == (name not in OWN)


def test_metrics_and_a_report_do_not_share_stdout() -> None:
    stdout = run_flags.Records(metrics=Path("-"))
    for free in ({"as_json": False, "dry_run": False}, {"as_json": True, "dry_run": True}):
        run_flags.check_stdout(stdout, **free)
    run_flags.check_stdout(run_flags.Records(metrics=Path("m.jsonl")), as_json=True, dry_run=False)
    with pytest.raises(UsageError, match="--json and --metrics -: both are for stdout"):
        run_flags.check_stdout(stdout, as_json=True, dry_run=False)
