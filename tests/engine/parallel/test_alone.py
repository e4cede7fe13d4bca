"""A model in one process: passes are computed where they are planned."""

from typing import Any

from llmkit.engine.parallel.alone import ALONE


def test_nothing_stands_between_an_engine_and_its_runner() -> None:
    runner: Any = object()
    assert ALONE.over(runner) is runner and ALONE.aside(runner, 3) is runner
    ALONE.close()
    assert ALONE.over(runner) is runner  # there is nobody to end
