"""PATH or PATH:SCALE."""

from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.scaled_path import ScaledPath, parse_scaled_path


def test_an_adapter_has_a_scale_behind_a_colon(tmp_path: Path) -> None:
    assert parse_scaled_path("x/y") == ScaledPath(Path("x/y"), 1.0)
    assert parse_scaled_path("x/y:-0.5") == ScaledPath(Path("x/y"), -0.5)
    (tmp_path / "run:2").mkdir()
    assert parse_scaled_path(str(tmp_path / "run:2")) == ScaledPath(tmp_path / "run:2", 1.0)
    for wrong in ("x:half", "x:inf", "x:nan", ":2"):
        with pytest.raises(UsageError):
            parse_scaled_path(wrong)
