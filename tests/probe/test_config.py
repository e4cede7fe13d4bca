"""Settings of the measurements: what the flags say is what they are, and reading them is cheap."""

import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import pytest

from llmkit.commands.bench.bench import tokenize
from llmkit.probe.config import BenchPrefillConfig, BenchTokenizeConfig


def test_every_setting_has_a_flag_with_the_same_default() -> None:
    flags = inspect.signature(tokenize).parameters
    assert {one.name: one.default for one in fields(BenchTokenizeConfig)} == {
        one.name: flags[one.name].default for one in fields(BenchTokenizeConfig)
    }


def test_settings_are_named_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        BenchTokenizeConfig(3)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        BenchTokenizeConfig().rounds = 3  # type: ignore[misc]
    assert BenchTokenizeConfig(rounds=3) == BenchTokenizeConfig(rounds=3) != BenchTokenizeConfig(rounds=4)


def test_showing_the_defaults_loads_no_library() -> None:
    line = "import sys, llmkit.probe.config; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "tokenizers", "msgspec", "typer"} & set(loaded.split())


def test_each_bench_adds_its_sizes_to_what_all_have() -> None:
    assert BenchPrefillConfig(prompt=(1,)).rounds == BenchPrefillConfig.rounds
    with pytest.raises(TypeError):
        BenchPrefillConfig(tokens=(1,))  # type: ignore[call-arg]
