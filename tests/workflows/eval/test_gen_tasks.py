"""Tasks as samples to write."""

import json
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.probe.evaluate.tasks_config import GenConfig
from llmkit.workflows.eval.gen_tasks import read_items


def _file(path: Path, count: int, first: int = 0) -> Path:
    numbers = range(first, first + count)
    path.write_text("".join(json.dumps({"prompt": f"{n} =", "answer": n}) + "\n" for n in numbers))
    return path


def test_every_sample_of_every_task_has_a_number_of_its_own(tmp_path: Path) -> None:
    path, dev = _file(tmp_path / "a.jsonl", 3), _file(tmp_path / "dev.jsonl", 5)
    form, items = read_items(path, dev, GenConfig(samples=2, shots=2, limit=2))
    assert form == "plain"
    assert [(one.index, one.task_index, one.sample) for one in items] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
        (3, 1, 1),
    ]
    assert items[2].prompt == "0 = 0\n\n2 = 2\n\n1 ="  # its own answer is not shown
    assert items[0].prompt == "1 = 1\n\n2 = 2\n\n0 ="
    assert items[0].digest == items[1].digest != items[2].digest


def test_too_few_examples_and_no_tasks_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.jsonl", 2)
    with pytest.raises(DataError, match=r"a.jsonl: 1 example beside the question itself, and --shots asks"):
        read_items(path, path, GenConfig(shots=2))
    with pytest.raises(DataError, match=r"dev.jsonl: 2 examples, and --shots asks for 3"):
        read_items(_file(tmp_path / "one.jsonl", 1), _file(tmp_path / "dev.jsonl", 2, 5), GenConfig(shots=3))
    (tmp_path / "dev.jsonl").write_text('{"prompt": "7 =", "answer": null}\n')
    with pytest.raises(DataError, match=r"dev.jsonl:1: an example without an answer"):
        read_items(path, tmp_path / "dev.jsonl", GenConfig(shots=1))
    (tmp_path / "dev.jsonl").write_text('{"prompt": "7 =", "answer": 1e999}\n')
    with pytest.raises(DataError, match=r"^[^:]*dev.jsonl:1: Number out of range$"):
        read_items(path, tmp_path / "dev.jsonl", GenConfig(shots=1))
    with pytest.raises(DataError, match="no tasks"):
        read_items(_file(tmp_path / "none.jsonl", 0), None, GenConfig())
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a"}\n')
    with pytest.raises(DataError, match=r"bad.jsonl:1: no .answer"):
        read_items(bad, None, GenConfig())
