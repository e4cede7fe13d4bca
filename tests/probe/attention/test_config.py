"""Thresholds and windows are settings with a default that is written once."""

from dataclasses import FrozenInstanceError

import pytest

from llmkit.probe.attention.config import HeadClasses, StatisticsConfig


def test_settings_cannot_be_changed_on_the_way() -> None:
    with pytest.raises(FrozenInstanceError):
        HeadClasses().sink = 0.5  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        StatisticsConfig().local_window = 3  # type: ignore[misc]


def test_every_threshold_is_a_share() -> None:
    shares = {name: value for name, value in vars(HeadClasses()).items() if name != "local_windows"}
    assert all(0 < value < 1 for value in shares.values())
    assert HeadClasses().sink == 0.3  # epsilon of Gu et al.
