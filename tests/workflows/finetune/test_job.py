"""What a job resolves: rates and batches by method, the recipe's own settings, rows that kto can compare."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import ConfigError, DataError, ResourceError, UsageError
from llmkit.formats.provenance import Invocation
from llmkit.kernels.library import available
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.chunked_rows import rows_per_chunk
from llmkit.train.finetune_config import FinetuneConfig, FinetuneRecipe, default_finetune_lr
from llmkit.train.parallel.degrees import ONE_PROCESS, Degrees
from llmkit.workflows.finetune.data import PromptRows
from llmkit.workflows.finetune.job import FinetuneFiles, FinetuneJob, open_finetune
from llmkit.workflows.finetune.plan import (
    check_finetune_resources,
    finetune_memory_bytes,
    plan_finetune_run,
    trained_parameters,
)
from llmkit.workflows.finetune.run import encode_prompt
from llmkit.workflows.run import plan as run_plan
from llmkit.workflows.run.memory import DISTRIBUTED_BYTES, RECOMPUTING_BYTES, RUNTIME_BYTES, activation_bytes

SIZES: dict[str, Any] = {
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "max_position_embeddings": 128},
}
MiB = 1 << 20


@pytest.fixture
def open_job(tmp_path: Path, byte_tokenizer: Tokenizer) -> Callable[..., FinetuneJob]:
    """Open a job on 21 records that fit any method."""
    base = tmp_path / "base"
    base.mkdir()
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    save_model(model, base)
    byte_tokenizer.save(base)
    records = [
        {"prompt": f"say {n}", "completion": f"{n}", "chosen": "yes", "rejected": f"no {n}", "label": True}
        for n in range(21)
    ]
    for record in records[:10]:
        del record["completion"], record["label"]  # pairs, of which kto makes two answers
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))

    def call(
        files: dict[str, Any] | None = None, *, degrees: Degrees = ONE_PROCESS, **config: Any
    ) -> FinetuneJob:
        given = {"model": base, "data": (data,), "out": tmp_path / "run", **(files or {})}
        settings = FinetuneConfig(device="cpu", threads=1, **config)
        invocation, cache = Invocation("finetune"), tmp_path / "cache"
        return open_finetune(
            FinetuneFiles(**given), settings, cache, invocation, SILENT, force=False, degrees=degrees
        )

    return call


def test_rate_and_rows_come_from_the_method_unless_they_are_given(open_job: Callable[..., Any]) -> None:
    sft, dpo = open_job(), open_job(method="dpo", lora=LoraConfig(r=2))
    assert sft.setup.recipe.lr == default_finetune_lr("sft", adapter=False, hidden_size=16)
    assert dpo.setup.recipe.lr == default_finetune_lr("dpo", adapter=True, hidden_size=16)
    assert (sft.setup.recipe.seq_len, dpo.setup.recipe.batch_rows) == (128, 8)
    given = open_job(method="dpo", lr=0.5, batch_rows=3).setup.recipe
    assert (given.lr, given.batch_rows) == (0.5, 3)


def test_the_recipe_tells_method_settings_and_parameters(open_job: Callable[..., Any]) -> None:
    recipe = open_job(method="ipo", beta=0.3, lora=LoraConfig(r=2)).setup.recipe
    assert isinstance(recipe, FinetuneRecipe)
    assert (recipe.method, recipe.settings["beta"], recipe.parameters["r"]) == ("ipo", 0.3, 2)
    assert recipe.initial_sha256 is not None


def test_a_share_is_held_out_and_the_two_sides_are_all(open_job: Callable[..., Any]) -> None:
    whole = open_job(method="dpo")
    split = open_job({"supervise": SuperviseConfig(valid_fraction=0.4)}, method="dpo")
    assert whole.valid is None and split.valid is not None
    assert len(split.data.rows) + len(split.valid.rows) == len(whole.data.rows)
    assert 0 < len(split.valid.rows) < len(whole.data.rows)


@pytest.mark.parametrize("rows", [2, 3, 5, 10])
def test_kto_is_never_scored_on_a_single_answer(
    open_job: Callable[..., Any], rows: int, tmp_path: Path
) -> None:
    job = open_job({"valid": (tmp_path / "data.jsonl",)}, method="kto", eval_rows=rows)
    parts = rows % job.setup.eval_batch_rows
    assert parts != 1 and job.setup.eval_batch_rows >= 2


def test_kto_needs_a_second_answer_to_be_evaluated(open_job: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one answer to evaluate on"):
        open_job({"valid": (tmp_path / "data.jsonl",)}, method="kto", eval_rows=1)


def test_both_answers_of_a_pair_fit_into_learned_positions(
    open_job: Callable[..., Any], tmp_path: Path
) -> None:
    learned = {"model_type": "gpt2", "position": "learned", "norm": "layer", "attention_bias": True}
    learned |= {"output_bias": True, "mlp_bias": True, "gated_mlp": False, "hidden_act": "gelu_pytorch_tanh"}
    base = tmp_path / "learned"
    shutil.copytree(tmp_path / "base", base)
    save_model(Transformer(ModelConfig(**SIZES | learned)), base)
    words = "no " * 60
    (tmp_path / "pairs.jsonl").write_text(
        json.dumps({"prompt": "a", "chosen": words, "rejected": f"x {words}"})
    )
    files = {"model": base, "data": (tmp_path / "pairs.jsonl",)}
    with pytest.raises(UsageError, match="--max-tokens 65, but the model has 128 positions, and a row"):
        open_job({**files, "supervise": SuperviseConfig(max_tokens=65)}, method="dpo")
    for most in (64, None):
        job = open_job({**files, "supervise": SuperviseConfig(max_tokens=most)}, method="dpo")
        assert job.setup.recipe.seq_len <= 128 and job.longest == 64


def test_stdin_is_not_shared_by_processes(open_job: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="stdin is read by one process, the run has 2"):
        open_job({"data": (Path("-"),)}, degrees=Degrees(dp=2))


def test_one_answer_is_too_few_for_kto_however_often_it_is_given(
    open_job: Callable[..., Any], tmp_path: Path
) -> None:
    data = tmp_path / "same.jsonl"
    data.write_text('{"prompt": "a", "completion": "b", "label": true}\n' * 3)
    with pytest.raises(DataError, match="one answer to learn from"):
        open_job({"data": (data,)}, method="kto")


def test_layers_that_are_computed_again_are_planned_with_less(open_job: Callable[..., Any]) -> None:
    plain, again = (
        finetune_memory_bytes(open_job(batch_rows=8, micro_batch_rows=8, activation_checkpointing=kind))
        for kind in ("none", "full")
    )
    tokens = 8 * 128
    kept = activation_bytes(ModelConfig(**SIZES), tokens, "float32", head_tokens=rows_per_chunk(259))
    less = activation_bytes(
        ModelConfig(**SIZES), tokens, "float32", head_tokens=rows_per_chunk(259), recomputing="full"
    )
    assert again - plain == RECOMPUTING_BYTES["cpu"] - (kept - less) and kept > less


def test_prompts_leave_room_for_an_answer(open_job: Callable[..., Any]) -> None:
    job = open_job({"reward": "true"}, method="grpo", completion_tokens=20)
    assert isinstance(job.data.rows, PromptRows) and len(job.prompts) == len(job.data.rows)
    longest = max(len(prompt.ids) for prompt in job.prompts)
    assert job.setup.recipe.seq_len == longest + 20 <= 128
    with pytest.raises(UsageError, match="leaves no room for a prompt"):
        open_job({"reward": "true"}, method="grpo", completion_tokens=128)


def test_an_update_of_grpo_is_all_answers_to_its_prompts(open_job: Callable[..., Any]) -> None:
    def opened(**more: Any) -> Any:
        return open_job({"reward": "true"}, method="grpo", completion_tokens=20, group_size=3, **more)

    setup = opened(batch_rows=2, steps=5).setup
    row = setup.recipe.seq_len
    assert (setup.recipe.batch_tokens, setup.recipe.tokens) == (2 * 3 * row, 5 * 2 * 3 * row)
    assert setup.micro_batch_rows == 2 * 3  # all of them at once: they are few
    assert opened(batch_rows=2, tokens=4 * 2 * 3 * row).setup.recipe.steps == 4
    assert opened(batch_tokens=2 * 3 * row + 1, steps=1).setup.recipe.batch_rows == 2
    plan = plan_finetune_run(opened(batch_rows=2, steps=5))
    assert plan.answers_per_row == 3
    assert plan.total_seconds == pytest.approx(5 * plan.step_seconds)


def test_memory_counts_what_is_held_and_what_learns(open_job: Callable[..., Any]) -> None:
    full, lora = open_job(method="dpo"), open_job(method="dpo", lora=LoraConfig(r=2))
    parameters = sum(one.numel() for one in Transformer(ModelConfig(**SIZES)).parameters())
    assert trained_parameters(full) == parameters
    adapter = 2 * 2 * (4 * 32 + 3 * 48)  # layers, rank, inputs and outputs of seven matrices
    assert trained_parameters(lora) == adapter
    tokens = full.setup.micro_batch_rows * full.setup.recipe.seq_len
    gated = 3 if available() else 4
    kept = (
        round(1.2 * tokens * 2 * ((24 if available() else 28) * 16 + 4 * 2 * 16 + 4 * gated * 32))
        + tokens * 8 * 259
    )
    assert finetune_memory_bytes(full) == 325 * MiB + (4 + 4 + 12) * parameters + kept
    narrow = 4 * tokens * 2 * 7 * 2  # layers, matrices, rank
    assert finetune_memory_bytes(lora) == 325 * MiB + 4 * parameters + 16 * adapter + kept + narrow


def test_each_of_several_processes_holds_all_and_sums_of_gradients_and_is_counted(
    open_job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_job(batch_rows=4, micro_batch_rows=1)
    three = replace(one, setup=replace(one.setup, degrees=Degrees(dp=3)))
    each = finetune_memory_bytes(three)
    more = each - finetune_memory_bytes(one) - 4 * trained_parameters(one)
    assert more == DISTRIBUTED_BYTES["cpu"]
    together = 3 * each - 2 * RUNTIME_BYTES["cpu"]  # which those that are there have taken already
    monkeypatch.setattr(run_plan, "available_memory_bytes", lambda _: together)
    check_finetune_resources(three, processes_here=3)
    monkeypatch.setattr(run_plan, "available_memory_bytes", lambda _: together - 1)
    check_finetune_resources(three, processes_here=2)
    with pytest.raises(ResourceError, match=f"about {together:,} bytes"):
        check_finetune_resources(three, processes_here=3)


def test_a_message_is_put_into_the_template_and_plain_text_is_not(byte_tokenizer: Tokenizer) -> None:
    assert bytes(one for one in encode_prompt(byte_tokenizer, "hi") if one < 256).startswith(b"user\nhi")
    plain = Tokenizer(byte_tokenizer.backend, byte_tokenizer.config, None)
    assert encode_prompt(plain, "hi") == list(b"hi")


@pytest.mark.parametrize(
    ("files", "config", "message"),
    [
        ({"reward_seconds": 5.0}, {}, "--method sft has no use for --reward-timeout"),
        ({"reward": "true", "seq_len": 64}, {"method": "grpo"}, "--method grpo has no use for --seq-len"),
        ({"reward": "true", "shown": 1}, {"method": "grpo"}, "--method grpo has no use for --show-mask"),
        ({}, {"eval_rows": 4}, "--eval-rows without validation data"),
        ({"prompts": ()}, {"sample_every": 4}, "--sample-every without a prompt"),
        ({"seq_len": 129}, {}, "--seq-len 129, but the model has 128 positions"),
        ({"supervise": SuperviseConfig(max_tokens=130)}, {}, "--max-tokens 130, but the model has 128"),
    ],
)
def test_flags_that_the_method_or_the_model_cannot_follow_are_refused(
    open_job: Callable[..., Any], files: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_job(files, **config)


def test_a_teacher_of_another_vocabulary_is_refused_before_anything_is_packed(
    open_job: Callable[..., Any], tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    save_model(Transformer(ModelConfig(**{**SIZES, "vocab_size": 300})), teacher)
    with pytest.raises(ConfigError, match="teacher has 300 tokens and the model 259"):
        open_job({"teacher": teacher}, method="kd")
    assert not (tmp_path / "cache").exists()


def test_a_teacher_of_other_tokens_is_refused_and_one_with_other_added_tokens_is_not(
    open_job: Callable[..., Any], tmp_path: Path, byte_tokenizer: Tokenizer
) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    save_model(Transformer(ModelConfig(**SIZES)), teacher)
    byte_tokenizer.save(teacher)
    told = json.loads((teacher / "tokenizer.json").read_text())
    for one in told["added_tokens"]:
        one["content"] = f"<other {one['id']}>"
    (teacher / "tokenizer.json").write_text(json.dumps(told))
    assert open_job({"teacher": teacher}, method="kd").files.teacher == teacher
    vocabulary = told["model"]["vocab"]
    (first, a), (second, b) = list(vocabulary.items())[-2:]
    vocabulary.update({first: b, second: a})
    (teacher / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="the teacher has another tokenizer"):
        open_job({"teacher": teacher}, method="kd")
