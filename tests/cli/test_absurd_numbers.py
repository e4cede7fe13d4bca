"""Numbers that no machine has are refused before anything is looked at."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.cli import build_cli
from llmkit.commands.documentation import read_pages

AT_ONCE = {"--threads", "--workers", "--prompt-workers"}
FLAGS = [
    (page.path, next(name for name in flag.names if name in AT_ONCE))
    for page in read_pages(build_cli())
    if not page.subcommands
    for flag in page.options
    if AT_ONCE & {*flag.names}
]


@pytest.mark.parametrize(("path", "flag"), FLAGS, ids=lambda value: str(value))
def test_no_command_takes_threads_or_processes_that_no_machine_has(
    path: tuple[str, ...], flag: str, llmkit_run: Callable[..., Any]
) -> None:
    for number in ("0", "-1", "1000000000000"):
        done = llmkit_run(*path, flag, number)
        assert (done.status, done.out) == (2, b""), done.err
        first, second = done.err.splitlines()
        assert first.startswith("llmkit: error: ") and flag in first and second.startswith("  hint: ")


def test_no_model_is_estimated_of_more_layers_than_any_has(llmkit_run: Callable[..., Any]) -> None:
    done = llmkit_run("kv-estimate", "--preset", "llama-3.1-8b", "--num-hidden-layers", 10**12)
    assert (done.status, done.out) == (2, b"") and "'--num-hidden-layers'" in done.err


@pytest.mark.parametrize(
    "line",
    [
        ("bench", "prefill", "--preset", "tiny", "--rounds"),
        ("dedup", "--ngram"),
        ("serve", "m", "--replicas"),
        ("serve", "m", "--max-replicas"),
        ("pretrain", "-o", "run", "--data", "d", "--nproc"),
    ],
    ids=" ".join,
)
def test_what_nobody_can_mean_is_refused_by_its_flag(
    line: tuple[str, ...], llmkit_run: Callable[..., Any]
) -> None:
    done = llmkit_run(*line, "1000000000000")
    assert (done.status, done.out) == (2, b""), done.err
    first, second = done.err.splitlines()
    assert line[-1].removeprefix("--") in first and second.startswith("  hint: ")


def test_every_command_that_counts_them_is_looked_at() -> None:
    assert {("pack",), ("pretrain",), ("generate",), ("serve",), ("bench", "train")} <= {
        path for path, _ in FLAGS
    }
