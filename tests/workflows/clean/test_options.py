"""Settings: JSON both ways for workers, and when the licence is of any account."""

from pathlib import Path

import msgspec
import pytest

from llmkit.text.presets import PRESETS
from llmkit.workflows.clean.options import PRESET_NAMES, CleanFiles, CleanSettings


def test_presets_are_named_as_there_are() -> None:
    assert tuple(PRESETS) == PRESET_NAMES


def test_settings_go_to_a_worker_and_a_receipt_unchanged() -> None:
    settings = CleanSettings(presets=("c4", "gopher"), against=(("a", "0" * 64),), lang="en:0.65", pii="mask")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=CleanSettings) == settings
    assert msgspec.convert(msgspec.to_builtins(settings), CleanSettings) == settings


@pytest.mark.parametrize(
    "asking",
    [
        {"license_allow": ("MIT",)},
        {"license_deny": ("MIT",)},
        {"require_license": True},
        {"detect_license": True},
    ],
)
def test_a_licence_is_looked_for_when_any_flag_asks(asking: dict[str, object]) -> None:
    assert CleanSettings(**asking).asks_licence  # type: ignore[arg-type]
    assert not CleanSettings().asks_licence


def test_evaluation_sets_and_rules_and_a_language_model_are_read_as_the_inputs_are() -> None:
    files = CleanFiles(inputs=[Path("folder")], rules=Path("rules.toml"), against=[Path("sets")])
    settings = CleanSettings(against=(("sets/a.jsonl", "0" * 64),), lang_model="lid.bin")
    names = {"folder/b.jsonl", "sets", "sets/a.jsonl", "rules.toml", "lid.bin"}
    assert set(map(str, files.reads([Path("folder/b.jsonl")], settings))) == names
