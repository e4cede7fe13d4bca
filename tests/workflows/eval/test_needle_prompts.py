"""Prompts with something hidden: the same for a seed, in the text that was given, told apart by all asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.workflows.eval.needle_prompts import needle_work, write_prompts
from llmkit.workflows.eval.scorer import ModelOptions

Make = Callable[..., Path]
SMALL: dict[str, Any] = {
    "tasks": ("needle",), "needle": " {key} {value}.", "question": " {key}", "answers": ("{value}",),
    "words": 8, "max_tokens": 2, "lengths": (32, 64), "depths": (0.0, 100.0), "samples": 2,
}  # fmt: skip


def test_the_same_seed_asks_the_same(spelled_model: Make, tmp_path: Path) -> None:
    folder = spelled_model()
    texts = []
    for number, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{number}.jsonl"
        assert write_prompts(ModelOptions(model=folder), NeedleConfig(**{**SMALL, "seed": seed}), path) == 8
        texts.append(path.read_bytes())
    assert texts[0] == texts[1] != texts[2]
    first = json.loads(texts[0].splitlines()[0])
    assert first["answers"][0] in first["prompt"] and first["id"] == "needle/32/0.0/0"


def test_a_text_is_the_hay(spelled_model: Make, tmp_path: Path) -> None:
    hay, out = tmp_path / "hay.txt", tmp_path / "p.jsonl"
    hay.write_text("Blue whales sing. Old men row. " * 9)
    config = NeedleConfig(**{**SMALL, "lengths": (64,)})
    write_prompts(ModelOptions(model=spelled_model()), config, out, haystack=hay)
    assert all("Blue whales" in json.loads(line)["prompt"] for line in out.read_text().splitlines())


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"lengths": (32,)}, {"depths": (0.0,)}, {"question": "?"}, {"chat": True}, {"samples": 3}],
)
def test_what_is_asked_otherwise_is_other_work_and_a_threshold_is_not(change: dict[str, Any]) -> None:
    config = NeedleConfig(**SMALL)
    assert needle_work(config, "hay") != needle_work(replace(config, **change), "hay")
    assert needle_work(config, "hay") != needle_work(config, "straw")
    assert needle_work(config, "hay") == needle_work(replace(config, threshold=1.0), "hay")
