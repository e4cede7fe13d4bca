"""Scores of tokens, beside transformers; what a passage does; what is written and scored in one go."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import GenerateConfig, Kernels
from llmkit.errors import DataError, MissingError, UsageError
from llmkit.formats.jsonl import encode_line
from llmkit.probe.evaluate.config import TokensConfig
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.tokens import Marking, ScoredSample, read_marking, score_samples, tokens_report
from llmkit.workflows.eval.tokens_input import read_samples
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files

Make = Callable[..., Path]


def _logprobs(folder: Path, ids: list[int]) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def _rows(scorer: Scorer, path: Path, *rows: dict[str, Any], **config: Any) -> list[ScoredSample]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = read_samples(None, path, chat=False)
    return list(
        score_samples(scorer, samples, TokensConfig(**config), Marking(config.get("threshold") or 0.1))
    )


def _text(scorer: Scorer, text: str, **config: Any) -> ScoredSample:
    (found,) = score_samples(scorer, read_samples(text, None, chat=False), TokensConfig(**config), Marking())
    return found


def test_prompt_and_answer_have_transformers_log_probabilities(
    scorer: Scorer, folder: Path, tmp_path: Path
) -> None:
    (found,) = _rows(
        scorer, tmp_path / "r.jsonl", {"id": "x", "prompt": "You must give", "completion": " any other"}
    )
    assert found.answer is not None
    ids = [one["id"] for one in (*found.prompt, *found.answer)]
    assert ids == scorer.encoder.encode("You must give any other")
    rows = _logprobs(folder, ids)
    expected = [float(rows[place, one]) for place, one in enumerate(ids[1:])]
    told = [one["logprob"] for one in (*found.prompt, *found.answer)]
    assert told[0] is None and told[1:] == pytest.approx(expected, abs=1e-4)
    own = told[len(found.prompt) :]
    assert found.summary.logprob == pytest.approx(sum(own))
    assert found.summary.confidence == pytest.approx(math.exp(sum(own) / len(own)))
    record = json.loads(encode_line(found.record()))
    assert record["id"] == "x" and record["completion"] == " any other"
    assert record["logprobs"] == json.loads(json.dumps(found.answer))


def test_where_angles_depend_on_length_prompt_and_answer_have_log_probabilities_of_one_pass(
    stretched: Path, kernels: Kernels, tmp_path: Path
) -> None:
    scorer = open_scorer(ModelOptions(model=stretched, kernels=kernels))
    prompt, answer = "You must give any other recipients of the Work", " a copy of this License"
    (found,) = _rows(scorer, tmp_path / "r.jsonl", {"prompt": prompt, "completion": answer})
    assert found.answer is not None
    ids = scorer.encoder.encode(prompt + answer)
    assert len(found.prompt) < len(ids) and len(ids) > 20
    rows = _logprobs(stretched, ids)
    expected = [float(rows[place, one]) for place, one in enumerate(ids[1:])]
    told = [one["logprob"] for one in (*found.prompt, *found.answer)]
    assert told[1:] == pytest.approx(expected, abs=1e-4)


def test_what_is_written_is_what_generate_writes_with_the_same_fields(
    scorer: Scorer, folder: Path, tmp_path: Path
) -> None:
    found = _text(scorer, "You must", generate=4, top=2)
    files = GenerateFiles(model=folder, prompt="You must", out=tmp_path / "out")
    sampling = {"max_tokens": 4, "temperature": 0.0, "logprobs": 2}
    generate_files(files, GenerateConfig(sampling=sampling, as_json=True))
    theirs = json.loads((tmp_path / "out").read_text())
    assert found.answer is not None and len(found.answer) == len(theirs["logprobs"])
    for ours, other in zip(found.answer, theirs["logprobs"], strict=True):
        assert list(ours) == list(other)
        assert ours["id"] == other["id"] and ours["rank"] == other["rank"] == 1
        assert ours["logprob"] == pytest.approx(other["logprob"], abs=1e-5)
    assert found.completion == theirs["completion"]
    assert [one["id"] for one in found.prompt] == scorer.encoder.encode("You must")


def test_a_passage_that_has_the_answer_makes_it_likelier_by_transformers_figures(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    scorer = open_scorer(ModelOptions(model=folder))
    answer, passage = "He had a red ball.", "Tom had a red ball."
    found = _text(scorer, answer, context=passage)
    told = found.grounding
    assert told is not None and told.gain_bits > 0
    ids = scorer.encoder.encode(answer, special=False)
    head = scorer.encoder.encode("")
    rows = _logprobs(folder, head + ids)
    assert head == [1]
    before = [float(rows[n, one]) for n, one in enumerate(ids)]
    given = scorer.encoder.encode(passage + "\n\n")
    rows = _logprobs(folder, given + ids)
    after = [float(rows[len(given) - 1 + n, one]) for n, one in enumerate(ids)]
    assert told.logprob_without == pytest.approx(sum(before), abs=1e-3)
    assert told.logprob_with == pytest.approx(sum(after), abs=1e-3)
    gains = [one["gain_bits"] for one in found.prompt[1:]]
    assert gains == pytest.approx(
        [(y - x) / math.log(2) for x, y in zip(before, after, strict=True)], abs=1e-3
    )


def test_a_records_own_passage_wins(scorer: Scorer, tmp_path: Path) -> None:
    row = {"prompt": "You", "completion": " must give"}
    one, two = _rows(scorer, tmp_path / "r.jsonl", row | {"context": "must give"}, row, context="any")
    assert one.grounding is not None and two.grounding is not None
    assert one.grounding.logprob_without == pytest.approx(two.grounding.logprob_without)
    assert one.grounding.logprob_with != pytest.approx(two.grounding.logprob_with)


def test_spans_are_of_the_answer_alone_and_below_the_threshold(scorer: Scorer, tmp_path: Path) -> None:
    (found,) = _rows(
        scorer, tmp_path / "r.jsonl", {"prompt": "You", "completion": " must give"}, threshold=1.0
    )
    assert found.answer is not None
    assert [(one.start, one.end) for one in found.spans] == [(0, len(found.answer))]
    assert found.spans[0].text == " must give"


def test_a_text_of_one_token_is_a_record_without_scores(scorer: Scorer) -> None:
    found = _text(scorer, "a")
    assert found.summary.scored_tokens == 0 and found.summary.perplexity is None
    assert [one["logprob"] for one in found.prompt] == [None] and found.spans == []


def test_there_is_nothing_to_write_behind_an_answer(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--generate"):
        _rows(scorer, tmp_path / "r.jsonl", {"prompt": "a", "completion": "b"}, generate=2)


def test_the_report_adds_up_all_records(scorer: Scorer, tmp_path: Path) -> None:
    scored = _rows(scorer, tmp_path / "r.jsonl", {"text": "You must"}, {"text": "any other"})
    report = tokens_report(scorer, scored, Marking())
    total = sum(one.summary.logprob for one in scored)
    count = sum(one.summary.scored_tokens for one in scored)
    assert report["perplexity"] == pytest.approx(math.exp(-total / count))
    assert report["schema"] == "llmkit.eval.tokens/1" and len(report["records"]) == 2


def test_a_marking_is_a_calibrations_or_what_is_given(tmp_path: Path) -> None:
    scores = {"ece": 0, "brier": 0, "nll": 0}
    told = {
        **{"answers": 2, "accuracy": 1, "mean_confidence": 0.5, "scores": scores, "auroc": None},
        **{"temperature": 2.0, "scores_at_temperature": scores, "threshold": 0.4, "kept": 1},
        **{"keep_accuracy": 0.9, "bins": []},
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"calibration": told}))
    assert read_marking(path, None) == Marking(0.4, 2.0, True)
    assert read_marking(path, 0.2) == Marking(0.2, 2.0, True)
    assert read_marking(None, None) == Marking(0.1) and read_marking(None, 0.3) == Marking(0.3)
    path.write_text(json.dumps({"calibration": told | {"threshold": None}}))
    with pytest.raises(DataError, match="no threshold keeps 90%"):
        read_marking(path, None)
    path.write_text("{}")
    with pytest.raises(DataError, match="not a calibration"):
        read_marking(path, None)
    with pytest.raises(MissingError):
        read_marking(tmp_path / "nowhere", None)
    with pytest.raises(UsageError, match="--threshold 2"):
        read_marking(None, 2)
