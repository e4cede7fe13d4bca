"""Defaults are the ones of the sources."""

from llmkit.probe.evaluate.tasks_config import GenConfig, McConfig, NeedleConfig


def test_the_threshold_is_llama_2s_at_4k_in_ruler() -> None:
    assert NeedleConfig().threshold == 85.6


def test_answers_are_greedy_unless_asked_otherwise() -> None:
    assert GenConfig().temperature == 0
    assert McConfig().shots == 0
