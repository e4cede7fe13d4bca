"""Multiple choice, record by record, and as one report."""

import io
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import Kernels
from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.probe.evaluate.tasks_config import McConfig
from llmkit.workflows.eval.mc import eval_mc
from llmkit.workflows.eval.mc_report import McReport
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions
from tests.workflows.eval.stop_at import StopAt

Make = Callable[..., Path]
QUESTIONS = [
    {"prompt": f"{number} and", "choices": ["one", "a much longer answer", "é"], "answer": number % 3,
     "level": "odd" if number % 2 else "even"}
    for number in range(7)
]  # fmt: skip


def _write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def _mc(
    folder: Path, path: Path, records: Path | None = None, dev: Path | None = None, **config: Any
) -> McReport:
    return eval_mc(ModelOptions(model=folder), path, McConfig(**config), dev=dev, per_record=records)


def test_figures_are_the_records_and_errors_the_harnesss(spelled_model: Make, tmp_path: Path) -> None:
    path, records = _write(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "r.jsonl"
    report = _mc(spelled_model(), path, records, by="level", metric="acc_norm")
    found = [json.loads(line) for line in records.read_text().splitlines()]
    assert len(found) == report.records == 7
    texts = [tuple(map(str, one["choices"])) for one in QUESTIONS]  # type: ignore[arg-type]
    for measure, length in (
        ("acc", lambda _: 1),
        ("acc_norm", len),
        ("acc_bytes", lambda one: len(one.encode())),
    ):
        right = [
            max(range(3), key=lambda i: one["logprobs"][i] / length(choices[i])) == one["answer"]
            for one, choices in zip(found, texts, strict=True)
        ]
        assert [one[measure] for one in found] == right
        assert getattr(report, measure) == pytest.approx(sum(right) / 7)
        # lm_eval/api/metrics.py: sample_stddev(arr) / math.sqrt(len(arr))
        assert getattr(report, f"{measure}_error") == pytest.approx(statistics.stdev(right) / math.sqrt(7))
    assert [(one.group, one.records) for one in report.groups] == [("even", 4), ("odd", 3)]
    assert report.headline.name == "acc_norm" and report.headline.value == report.acc_norm


def test_where_angles_depend_on_length_each_choice_is_scored_in_one_pass_with_what_stands_before_it(
    stretched: Path, kernels: Kernels, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    prompt, choices = "a b c d e f g h i j", ["one", "o", "a much longer answer than the others"]
    path = _write(tmp_path / "q.jsonl", [{"prompt": prompt, "choices": choices, "answer": 0}] * 2)
    options, records = ModelOptions(model=stretched, kernels=kernels), tmp_path / "r.jsonl"
    eval_mc(options, path, McConfig(), per_record=records)
    expected, lengths = [], []
    for choice in choices:
        ids, first = open_scorer(options).pair(prompt, " " + choice)
        model = AutoModelForCausalLM.from_pretrained(stretched, dtype=torch.float32)
        with torch.no_grad():
            rows = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected.append(sum(float(rows[place - 1, ids[place]]) for place in range(first, len(ids))))
        lengths.append(len(ids))
    assert min(lengths) <= 16 < max(lengths)  # the question ends near the original context
    for line in records.read_text().splitlines():
        assert json.loads(line)["logprobs"] == pytest.approx(expected, abs=2e-4)


def test_a_last_word_is_right_when_it_is_the_models_own(spelled_model: Make, tmp_path: Path) -> None:
    path, records = (
        _write(tmp_path / "q.jsonl", [{"text": "She sat on the chair"}, {"text": "a b"}]),
        tmp_path / "r",
    )
    report = _mc(spelled_model(), path, records)
    found = [json.loads(line) for line in records.read_text().splitlines()]
    assert report.form == "lambada"
    assert [one["correct"] for one in found] == [one["greedy"][0] for one in found]
    assert report.perplexity == pytest.approx(math.exp(-sum(one["logprobs"][0] for one in found) / 2))


def test_examples_stand_before_each_question(spelled_model: Make, tmp_path: Path) -> None:
    questions = [{"prompt": "1 +", "choices": ["a", "b"], "answer": 1}]
    examples = [{**questions[0], "prompt": prompt} for prompt in ("2 +", "3 +")]
    path, dev = _write(tmp_path / "q.jsonl", questions), _write(tmp_path / "dev.jsonl", examples)
    written_out = _write(tmp_path / "w.jsonl", [{**questions[0], "prompt": "2 + b\n\n3 + b\n\n1 +"}])
    folder = spelled_model()
    shots, plain = tmp_path / "shots.jsonl", tmp_path / "plain.jsonl"
    _mc(folder, path, shots, dev, shots=2)
    _mc(folder, written_out, plain)
    assert json.loads(shots.read_text())["logprobs"] == json.loads(plain.read_text())["logprobs"]
    with pytest.raises(DataError, match="2 examples, and --shots asks for 3"):
        _mc(folder, path, None, dev, shots=3)
    dev.write_text('{"prompt": "7 =", "choices": ["a", "b"], "answer": 1e999}\n')
    with pytest.raises(DataError, match=r"^[^:]*dev.jsonl:1: Number out of range$"):
        _mc(folder, path, None, dev, shots=2)
    with pytest.raises(UsageError, match="--shots needs --dev"):
        _mc(folder, path, shots=1)


def test_a_question_is_none_of_its_own_examples(spelled_model: Make, tmp_path: Path) -> None:
    choices = ["a", "b"]
    rows = [
        {"prompt": f"{n} +", "choices": choices, "answer": 1, "by": "x" if n < 3 else "y"} for n in range(5)
    ]
    path, folder = _write(tmp_path / "q.jsonl", rows), spelled_model()
    prompts = ("1 + b\n\n0 +", "0 + b\n\n1 +", "0 + b\n\n2 +", "4 + b\n\n3 +", "3 + b\n\n4 +")
    written = [{**row, "prompt": prompt} for row, prompt in zip(rows, prompts, strict=True)]
    shots, plain = tmp_path / "shots.jsonl", tmp_path / "plain.jsonl"
    turned = [{**row, "choices": choices[::-1], "answer": 0} for row in rows]  # is the same question still
    _mc(folder, path, shots, _write(tmp_path / "dev.jsonl", turned), shots=1, by="by")
    _mc(folder, _write(tmp_path / "w.jsonl", written), plain)
    found = [
        [json.loads(line)["logprobs"] for line in one.read_text().splitlines()] for one in (shots, plain)
    ]
    assert found[0] == found[1]
    with pytest.raises(
        DataError, match=r"q.jsonl, 'y': 1 example beside the question itself, and --shots asks"
    ):
        _mc(folder, path, None, path, shots=2, by="by")


def test_an_interrupted_run_asks_only_what_is_missing(spelled_model: Make, tmp_path: Path) -> None:
    path, records, folder = _write(tmp_path / "q.jsonl", QUESTIONS), tmp_path / "r.jsonl", spelled_model()
    whole = _mc(folder, path, records)
    lines = records.read_text()

    records.unlink()
    with pytest.raises(Exception, match="stopped"):
        eval_mc(ModelOptions(model=folder), path, McConfig(), per_record=records, progress=StopAt(3))
    again = _mc(folder, path, records)
    assert records.read_text() == lines
    assert (again.acc, again.acc_error) == (whole.acc, whole.acc_error)
    assert any("goes on after 3" in note for note in again.notes)


def test_an_interrupted_run_does_not_go_on_with_other_answers_from_stdin(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, records = spelled_model(), tmp_path / "r.jsonl"
    others = [*QUESTIONS[:-1], QUESTIONS[-1] | {"answer": 1}]

    def read(questions: list[dict[str, Any]], **settings: Any) -> McReport:
        lines = "".join(json.dumps(one) + "\n" for one in questions).encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(lines))))
        return eval_mc(ModelOptions(model=folder), Path("-"), McConfig(), per_record=records, **settings)

    with pytest.raises(StoppedResumable):
        read(QUESTIONS, progress=StopAt(3))
    with pytest.raises(DataError, match="other texts"):
        read(others)
    assert read(QUESTIONS).records == 7


def test_questions_of_each_group_can_be_few(spelled_model: Make, tmp_path: Path) -> None:
    report = _mc(spelled_model(), _write(tmp_path / "q.jsonl", QUESTIONS), by="level", limit=2)
    assert [one.records for one in report.groups] == [2, 2]


def test_a_wrong_record_is_named_with_its_line(spelled_model: Make, tmp_path: Path) -> None:
    path = _write(tmp_path / "q.jsonl", [*QUESTIONS, {"prompt": "a"}])
    with pytest.raises(DataError, match=r"q.jsonl:8: not a question"):
        _mc(spelled_model(), path)
    _write(path, [*QUESTIONS, {"prompt": "a", "choices": ["b", "c " * 99], "answer": 0}])
    with pytest.raises(DataError, match=r"q.jsonl:8: an answer of \d+ tokens, and a context of 64"):
        _mc(tmp_path / "spelled", path)
    with pytest.raises(DataError, match="no questions"):
        _mc(spelled_model("other"), _write(tmp_path / "empty.jsonl", []))
