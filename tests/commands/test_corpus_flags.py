"""The options of clean, dedup and mix: one spelling, one default and one sentence for what is the same."""

import inspect

import pytest

from llmkit.commands import corpus_flags
from llmkit.commands.clean.clean import clean
from llmkit.commands.dedup.dedup import dedup
from llmkit.commands.mix.mix import mix

IN_COMMON = {"out": "PartsOut", "field": "TextField", "workers": "Workers"} | {
    "executor": "Executor",
    "shard": "Shard",
}


@pytest.mark.parametrize("name", IN_COMMON)
def test_what_the_three_have_in_common_is_one_option_with_one_default(name: str) -> None:
    options = [inspect.signature(command).parameters[name] for command in (clean, dedup, mix)]
    assert {id(option.annotation) for option in options} == {id(getattr(corpus_flags, IN_COMMON[name]))}
    assert len({option.default for option in options}) == 1
