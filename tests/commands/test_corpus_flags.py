"""The options of clean, dedup and mix: one spelling, one default and one sentence for what is the same."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands import corpus_flags
from llmkit.commands.clean.clean import clean
from llmkit.commands.dedup.dedup import dedup
from llmkit.commands.mix.mix import mix
from llmkit.formats.digest import digest_path
from tests.workflows.cleaning import write_inputs

IN_COMMON = {"out": "PartsOut", "field": "TextField", "workers": "Workers"} | {
    "executor": "Executor",
    "shard": "Shard",
}


@pytest.mark.parametrize("name", IN_COMMON)
def test_what_the_three_have_in_common_is_one_option_with_one_default(name: str) -> None:
    options = [inspect.signature(command).parameters[name] for command in (clean, dedup, mix)]
    assert {id(option.annotation) for option in options} == {id(getattr(corpus_flags, IN_COMMON[name]))}
    assert len({option.default for option in options}) == 1


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (("clean", "a.jsonl", "b.jsonl.zst"), ("--pii", "mask")),
        (("dedup", "a.jsonl", "b.jsonl.zst", "--by", "exact"), ("--key", "id")),
        (("mix", "--source", "a=a.jsonl:1", "--source", "b=b.jsonl.zst:1"), ("--seed", "5")),
    ],
    ids=lambda words: words[0],
)
def test_a_shard_that_comes_when_all_are_done_has_nothing_to_do(
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[str, ...],
    other: tuple[str, ...],
) -> None:
    write_inputs(tmp_path, "ab")
    monkeypatch.chdir(tmp_path)
    kept = ("--skip-bad", "-o", "out")
    for _ in range(9):
        for shard in ("1/3", "2/3"):  # there is nothing for the third
            assert llmkit_run(*line, *kept, "--shard", shard).status in (0, 75)
        if Path("out").exists():
            break
    made = digest_path(Path("out"))
    for shard in ("1/3", "3/3"):
        done = llmkit_run(*line, *kept, "--shard", shard)
        assert done.status == 0 and done.out == b"", done.err
        assert done.err == (
            "llmkit: out: whole already, all shards are done\n  hint: --force does this shard again\n"
        )
    assert digest_path(Path("out")) == made
    assert "already exists" in llmkit_run(*line, *kept).err
    assert "already exists" in llmkit_run(*line, *kept, *other, "--shard", "1/3").err
    with Path("a.jsonl").open("a") as stream:
        stream.write('{"text": "one more"}\n')
    assert llmkit_run(*line, *kept, "--shard", "1/3").status == 2
