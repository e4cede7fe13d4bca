"""Settings: JSON both ways for workers, and when the licence is of any account."""

import msgspec
import pytest

from llmkit.text.presets import PRESETS
from llmkit.workflows.clean.options import PRESET_NAMES, CleanSettings


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
