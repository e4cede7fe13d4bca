"""Settings: JSON both ways for workers, and which outputs are folders."""

from pathlib import Path

import msgspec
import pytest

from llmkit.workflows.clean_options import CleanFiles, CleanSettings


def test_settings_go_to_a_worker_and_a_receipt_unchanged() -> None:
    settings = CleanSettings(presets=("c4", "gopher"), against=(("a", "0" * 64),), lang="en:0.65", pii="mask")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=CleanSettings) == settings
    assert msgspec.convert(msgspec.to_builtins(settings), CleanSettings) == settings


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("out", True),
        ("out.v2", True),
        ("out.jsonl", False),
        ("out.jsonl.zst", False),
        ("out.ndjson.gz", False),
        ("-", False),
        ("there", True),
        ("/dev/null", False),
    ],
)
def test_a_name_without_jsonl_is_a_folder_unless_something_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_folder: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert CleanFiles([], out=Path(name)).is_folder is is_folder
    assert not CleanFiles([]).is_folder


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
