"""A fine-tuning run at work: its objective compares with the base, its rewards come from the scorer."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llmkit.formats.provenance import Invocation
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.evaluate import evaluate
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.workflows.finetune.job import FinetuneFiles, FinetuneJob, open_finetune
from llmkit.workflows.finetune.run import FinetuneRun
from llmkit.workflows.run.folder import Start
from tests.train.saved import save_trainer

SIZES: dict[str, Any] = {
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.2},
}


@pytest.fixture
def open_job(tmp_path: Path, byte_tokenizer: Tokenizer) -> Callable[..., FinetuneJob]:
    """A job on twelve prompts with answers and pairs, the same held out."""
    base = tmp_path / "base"
    base.mkdir()
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    save_model(model, base)
    byte_tokenizer.save(base)
    data = tmp_path / "data.jsonl"
    records = [{"prompt": f"{n}?", "chosen": "yes", "rejected": f"no {n}"} for n in range(12)]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))

    def call(files: dict[str, Any] | None = None, **config: Any) -> FinetuneJob:
        given = {"model": base, "data": (data,), "valid": (data,), "out": tmp_path / "run", **(files or {})}
        settings = FinetuneConfig(device="cpu", threads=1, **config)
        invocation = Invocation("finetune")
        return open_finetune(
            FinetuneFiles(**given), settings, tmp_path / "cache", invocation, SILENT, force=False
        )

    return call


def test_the_reference_stays_while_the_model_learns_and_the_divergence_tells_how_far(
    open_job: Callable[..., Any],
) -> None:
    job = open_job(method="dpo", lr=0.01, steps=3)
    run = FinetuneRun(job)
    trainer = run.build_trainer(Start())
    assert run.kl_to_base(trainer.model, trainer) == pytest.approx(0.0, abs=1e-6)
    for _ in range(3):
        trainer.train_step()
    trainer.close()
    settings = {"batch_rows": 5, "document_mask": True, "autocast": trainer.autocast}
    scored = evaluate(trainer.model, job.valid.rows, objective=trainer.objective, **settings)  # type: ignore[arg-type]
    assert scored.units == 12 and scored.loss < 0.69
    assert scored.stats["reward_accuracy"] > 0.5
    moved = run.kl_to_base(trainer.model, trainer)
    assert moved is not None and moved > 1e-3


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)])
def test_the_best_model_takes_the_place_of_the_last_one_and_moments_are_let_go(
    open_job: Callable[..., Any], tmp_path: Path, lora: LoraConfig | None
) -> None:
    job = open_job(method="dpo", lr=0.01, steps=4, lora=lora)
    trainer = FinetuneRun(job).build_trainer(Start())
    ids = torch.arange(20).view(1, 20)
    best, scores = tmp_path / "step-00000002", []
    for step in (1, 2, 3):
        trainer.train_step()
        scores.append(trainer.model(ids).detach())
        if step == 2:
            best.mkdir()
            save_trainer(trainer, best, threads=1, product=job.product)
    trainer.close()
    assert trainer.optimizer.state
    for published, expected in (
        (tmp_path / "step-00000003", scores[2]),
        (None, scores[2]),
        (best, scores[1]),
    ):
        ended: Any = SimpleNamespace(trainer=trainer, saver=SimpleNamespace(published=published))
        model = FinetuneRun(job).best_model(ended)
        assert model is trainer.model and torch.equal(model(ids), expected)
        assert not trainer.optimizer.state and all(one.grad is None for one in model.parameters())
    assert not torch.equal(scores[1], scores[2])


def test_rewards_of_grpo_come_from_the_scorer_and_a_resumed_run_draws_the_same(
    open_job: Callable[..., Any],
) -> None:
    job = open_job(
        {"reward": "true"}, method="grpo", completion_tokens=4, group_size=3, batch_rows=2, steps=2
    )
    asked: list[list[dict[str, Any]]] = []

    def score(records: list[dict[str, Any]]) -> list[float]:
        asked.append(records)
        return [float(len(record["completion"])) for record in records]

    results = []
    for _ in range(2):
        trainer = FinetuneRun(job, score).build_trainer(Start())
        results.append(trainer.train_step())
        trainer.close()
    assert len(asked[0]) == 2 * 3 and asked[0] == asked[1]
    assert results[0] == results[1]
    assert "ratio" in results[0].stats
    assert results[0].stats["reward"] == pytest.approx(
        sum(len(record["completion"]) for record in asked[0]) / 6
    )


def test_answers_that_are_learnt_from_twice_are_clipped_and_kept_in_a_checkpoint(
    open_job: Callable[..., Any],
) -> None:
    settings = {"completion_tokens": 4, "group_size": 3, "batch_rows": 2, "steps": 4, "lr": 0.05, "beta": 0.0}
    asked = 0

    def score(records: list[dict[str, Any]]) -> list[float]:
        nonlocal asked
        asked += 1
        return [float(number % 3) for number, _ in enumerate(records)]

    def job_of(**more: Any) -> Any:
        return open_job({"reward": "true"}, method="grpo", updates_per_rollout=2, **settings, **more)

    job = job_of(clip_ratio=0.01)
    trainer = FinetuneRun(job, score).build_trainer(Start())
    first = trainer.train_step()
    kept = {name: one.clone() for name, one in trainer.state_tensors().items()}
    weights = {name: one.clone() for name, one in trainer.model.state_dict().items()}
    state = trainer.state()
    second = trainer.train_step()
    assert asked == 1
    assert first.stats["clipped"] == 0 and first.stats["ratio"] == pytest.approx(1.0)
    assert second.stats["clipped"] > 0

    again = FinetuneRun(job, score).build_trainer(Start())
    again.model.load_state_dict(weights)
    again.restore(state, kept)
    resumed = again.train_step()
    assert asked == 1
    assert (resumed.loss, resumed.grad_norm, resumed.stats) == (second.loss, second.grad_norm, second.stats)
    assert "reward" in resumed.stats
    wide = FinetuneRun(job_of(clip_ratio=0.9), score).build_trainer(Start())
    wide.train_step()
    assert wide.train_step().stats["clipped"] < second.stats["clipped"]
    for one in (trainer, again, wide):
        one.close()


def test_answers_just_written_are_as_probable_as_when_they_are_first_learnt_from_in_bfloat16_too(
    open_job: Callable[..., Any],
) -> None:
    job = open_job(
        {"reward": "true"},
        **{"method": "grpo", "updates_per_rollout": 2, "clip_ratio": 1e-6, "dtype": "bfloat16", "steps": 2},
        **{"completion_tokens": 8, "group_size": 3, "batch_rows": 2},
    )

    def score(records: list[dict[str, Any]]) -> list[float]:
        return [float(number % 3) for number, _ in enumerate(records)]

    trainer = FinetuneRun(job, score).build_trainer(Start())
    stats = trainer.train_step().stats
    trainer.close()
    assert (stats["ratio"], stats["clipped"]) == (1.0, 0.0)
