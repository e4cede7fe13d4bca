"""What an evaluation would take, beside what it took."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.config import KlConfig, PplConfig
from llmkit.probe.evaluate.tasks_config import GenConfig, McConfig
from llmkit.workflows.eval.gen import eval_gen
from llmkit.workflows.eval.kl import eval_kl
from llmkit.workflows.eval.mc import eval_mc
from llmkit.workflows.eval.plan import EvalPlan, plan_eval
from llmkit.workflows.eval.ppl import eval_ppl
from llmkit.workflows.eval.scorer import ModelOptions, Scorer

Make = Callable[..., Path]


@pytest.fixture
def options(spelled_model: Make) -> ModelOptions:
    return ModelOptions(model=spelled_model(), plans=True)


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are read where somebody asks for the engine."""
    monkeypatch.setattr(Scorer, "engine", property(lambda _: pytest.fail("weights were read")))


def _lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_windows_are_the_texts_of_perplexity_and_no_record_is_written(
    options: ModelOptions, tmp_path: Path
) -> None:
    docs = _lines(tmp_path / "d.jsonl", {"text": "You must give any"}, {"text": "of the Work and of it"})
    config, records = PplConfig(window=4, stride=2), tmp_path / "r.jsonl"
    plan = plan_eval(partial(eval_ppl, options, [docs], config, per_record=records))
    assert sorted(one.name for one in tmp_path.iterdir() if one.name[0] in "dr") == ["d.jsonl"]
    job = _scorer(options)
    lengths = [len(job.encoder.encode(text)) for text in ("You must give any", "of the Work and of it")]
    windows = [max(1, -(-(length - 4) // 2) + 1) for length in lengths]
    assert plan.texts == sum(windows) and plan.longest_tokens == 4 and plan.written_tokens == 0
    twice = 2 * sum(number - 1 for number in windows)  # of each window but the first, what overlaps
    assert plan.prompt_tokens == sum(lengths) + twice
    records.touch()
    with pytest.raises(UsageError, match="already exists"):
        plan_eval(partial(eval_ppl, options, [docs], config, per_record=records))


def _scorer(options: ModelOptions) -> Scorer:
    from llmkit.workflows.eval.open import open_scorer

    return open_scorer(options)


def test_every_choice_is_a_text_and_every_sample_writes_as_much_as_it_may(
    options: ModelOptions, tmp_path: Path
) -> None:
    asked = {"prompt": "You must", "choices": [" give", " any"], "answer": 0}
    plan = plan_eval(partial(eval_mc, options, _lines(tmp_path / "q", asked, asked, asked), McConfig()))
    assert (plan.texts, plan.written_tokens) == (6, 0)
    tasks = _lines(tmp_path / "t", {"prompt": "You must", "answer": "4"})
    config = GenConfig(samples=3, temperature=1.0, max_tokens=5)
    plan = plan_eval(partial(eval_gen, options, tasks, config))
    one = len(_scorer(options).encoder.encode("You must"))
    assert (plan.texts, plan.prompt_tokens, plan.written_tokens) == (3, 3 * one, 15)
    assert plan.longest_tokens == one + 5


def test_two_models_read_the_same_chunks_and_both_are_held(options: ModelOptions, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("You must give any other recipients of the Work a copy. " * 8)
    run = partial(eval_kl, options, options.model, [tmp_path / "t.txt"], KlConfig(window=16, max_chunks=3))
    plan = plan_eval(run)
    assert (plan.texts, plan.prompt_tokens, plan.longest_tokens, plan.texts_at_once) == (3, 48, 16, 1)
    alone = _alone(options, tmp_path / "t.txt")
    assert plan.weight_bytes == 2 * alone.weight_bytes
    more = alone.weight_bytes + plan.kv_bytes // 2 + plan.kv_bytes // 2 - alone.kv_bytes
    assert plan.memory_bytes == alone.memory_bytes + more and plan.reference == str(options.model)


def _alone(options: ModelOptions, text: Path) -> EvalPlan:
    return plan_eval(partial(eval_ppl, options, [text], PplConfig(window=16)))


def test_where_it_would_fail_before_it_computes_so_does_its_plan(
    options: ModelOptions, tmp_path: Path
) -> None:
    (tmp_path / "t.txt").write_text("You must give")
    with pytest.raises(UsageError, match="has a context of"):
        plan_eval(partial(eval_ppl, options, [tmp_path / "t.txt"], PplConfig(window=1 << 20)))


def test_an_evaluation_that_is_no_plan_is_found_out(options: ModelOptions) -> None:
    assert not replace(options, plans=False).plans
    with pytest.raises(AssertionError, match="computes nothing"):
        plan_eval(lambda: None)
