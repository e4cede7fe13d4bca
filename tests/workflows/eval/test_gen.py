"""Written answers, counted by hand."""

import io
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.probe.evaluate.tasks_config import GenConfig
from llmkit.workflows.eval.gen import GenReport, eval_gen
from llmkit.workflows.eval.scorer import ModelOptions
from tests.workflows.eval.stop_at import StopAt

Make = Callable[..., Path]


def _gen(folder: Path, path: Path, records: Path | None = None, **config: Any) -> GenReport:
    given = GenConfig(**{"max_tokens": 4, **config})
    return eval_gen(ModelOptions(model=folder), path, given, per_record=records)


def _tasks(path: Path, count: int = 3) -> Path:
    path.write_text("".join(json.dumps({"prompt": f"{n} =", "answer": "e"}) + "\n" for n in range(count)))
    return path


def test_pass_at_k_counts_the_right_samples_of_each_task(spelled_model: Make, tmp_path: Path) -> None:
    path, records = _tasks(tmp_path / "t.jsonl"), tmp_path / "r.jsonl"
    report = _gen(
        spelled_model(), path, records, samples=4, ks=(1, 2), temperature=1.0, match="contains", max_tokens=6
    )
    found = [json.loads(line) for line in records.read_text().splitlines()]
    assert [one["correct"] for one in found] == ["e" in one["completion"] for one in found]
    assert len({one["completion"] for one in found}) > 6  # every sample has its own seed
    right = [sum(one["correct"] for one in found[first : first + 4]) for first in (0, 4, 8)]
    assert report.pass_at[0].value == pytest.approx(sum(right) / 12)
    pairs = [1 - math.comb(4 - one, 2) / 6 for one in right]
    assert report.pass_at[1].value == pytest.approx(sum(pairs) / 3)
    assert report.pass_at[1].error == pytest.approx(statistics.stdev(pairs) / math.sqrt(3))
    assert (report.tasks, report.samples, report.cut_off) == (3, 4, sum(one["tokens"] == 6 for one in found))


def test_the_same_seed_writes_the_same_and_a_stop_ends_it(spelled_model: Make, tmp_path: Path) -> None:
    path, folder = _tasks(tmp_path / "t.jsonl"), spelled_model()
    texts = []
    for number, seed in enumerate((0, 0, 1)):
        records = tmp_path / f"{number}.jsonl"
        _gen(folder, path, records, temperature=1.0, seed=seed, max_tokens=8)
        texts.append([json.loads(line)["completion"] for line in records.read_text().splitlines()])
    assert texts[0] == texts[1] != texts[2]
    stop = texts[0][0][2]
    _gen(folder, path, tmp_path / "s.jsonl", temperature=1.0, max_tokens=8, stop=(stop,))
    first = json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0])
    assert first["completion"] == texts[0][0].partition(stop)[0] and first["finish_reason"] == "stop"


def test_a_command_judges_and_an_interrupted_run_goes_on(spelled_model: Make, tmp_path: Path) -> None:
    path, folder, records = _tasks(tmp_path / "t.jsonl", 5), spelled_model(), tmp_path / "r.jsonl"
    log = tmp_path / "log"
    verify = f"cat >> {log}"
    whole = _gen(folder, path, records, verify=verify, verify_jobs=2)
    assert whole.judged_by == "command" and whole.score == 1.0
    lines = records.read_bytes().splitlines(keepends=True)
    records.unlink()

    config = GenConfig(max_tokens=4, verify=verify, verify_jobs=2)
    with pytest.raises(Exception, match="stopped"):
        eval_gen(ModelOptions(model=folder), path, config, per_record=records, progress=StopAt(2))
    log.write_text("")
    again = _gen(folder, path, records, verify=verify, verify_jobs=2)
    assert again.pass_at == whole.pass_at
    assert records.read_bytes().splitlines(keepends=True) == lines
    assert len(log.read_text().splitlines()) == 3


def test_an_interrupted_run_does_not_go_on_with_other_answers_from_stdin(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, records = spelled_model(), tmp_path / "r.jsonl"
    lines = _tasks(tmp_path / "t.jsonl", 5).read_bytes()

    def read(content: bytes, **settings: Any) -> GenReport:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        config = GenConfig(max_tokens=4)
        return eval_gen(ModelOptions(model=folder), Path("-"), config, per_record=records, **settings)

    with pytest.raises(StoppedResumable):
        read(lines, progress=StopAt(2))
    with pytest.raises(DataError, match="other texts"):
        read(lines.replace(b'"e"', b'"f"'))
    read(lines)
    assert len(records.read_bytes().splitlines()) == 5


def test_what_cannot_tell_anything_is_refused(spelled_model: Make, tmp_path: Path) -> None:
    path, folder = _tasks(tmp_path / "t.jsonl"), spelled_model()
    with pytest.raises(UsageError, match="all the same"):
        _gen(folder, path, samples=2)
    with pytest.raises(UsageError, match="--pass-at 2"):
        _gen(folder, path, ks=(2,))


def test_a_task_that_leaves_no_room_for_an_answer_is_named(spelled_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"prompt": "a", "answer": "e"}, {"prompt": "You must give " * 40, "answer": "e"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"t\.jsonl:2: [0-9]+ tokens, .* context of 64"):
        _gen(spelled_model(), path)
