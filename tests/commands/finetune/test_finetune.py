"""The command line of finetune: what it reads, refuses and writes; each flag changes something."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers.models import BPE

from llmkit.formats.checkpoint import list_checkpoints
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.patterns import GPT2, byte_level, special_token
from llmkit.tokens.pieces import spell
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.parallel import recompute
from llmkit.train.trainer import Trainer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: dict[str, Any] = {
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
    **{
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
        "eos_token_id": 256,
    },
}
COUNT = "for line in sys.stdin: print(json.loads(line)['completion'].count('a'), flush=True)"
REWARD = f'python3 -c "import sys, json\n{COUNT}"'


def _lines(path: str, records: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(autouse=True)
def in_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a random model of bytes, and examples of every kind."""
    monkeypatch.chdir(tmp_path)
    vocabulary = {spell(bytes([byte])): byte for byte in range(256)}
    backend = byte_level(BPE(vocab=vocabulary, merges=[]), GPT2)
    backend.add_special_tokens([special_token(f"<|{name}|>") for name in ("endoftext", "im_start", "im_end")])
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    Path("base").mkdir()
    save_model(model, Path("base"))
    Tokenizer(backend, {"eos_token": "<|endoftext|>"}, CHATML).save(Path("base"))
    asked = [f"say {number}" for number in range(24)]
    _lines("sft.jsonl", [{"prompt": text, "completion": text[4:]} for text in asked])
    _lines("pairs.jsonl", [{"prompt": text, "chosen": "yes", "rejected": f"no {text}"} for text in asked])
    _lines("kto.jsonl", [{"prompt": t, "completion": t, "label": n % 2 == 0} for n, t in enumerate(asked)])
    return tmp_path


@pytest.fixture
def finetune(llmkit_run: Callable[..., Any]) -> Callable[..., Any]:
    """Run `llmkit finetune base` on some examples, 4 steps, and more flags."""

    def call(*flags: Any, data: str = "sft.jsonl", out: str = "run", stdin: bytes = b"") -> Any:
        budget = [] if {"--steps", "--epochs"} & set(flags) else ["--steps", 4]
        words = ["finetune", "base", "--data", data, "-o", out, "--threads", 1, "-q", *budget]
        return llmkit_run(*words, *flags, stdin=stdin)

    return call


def records(run: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def steps_of(run: str = "run") -> list[dict[str, Any]]:
    return [record for record in records(run) if "event" not in record]


def _names(folder: str) -> set[str]:
    return {entry.name for entry in Path(folder).iterdir()}


def report_of(result: Any) -> dict[str, Any]:
    assert result.status == 0, result.err
    return json.loads(result.out)


def test_sft_leaves_a_model_folder_that_has_learnt_and_says_how(finetune: Callable[..., Any]) -> None:
    result = finetune("--valid-fraction", 0.2, "--steps", 12, "--lr", 0.01, "--json", "--batch-rows", 2)
    report = report_of(result)
    assert report["schema"] == "llmkit.finetune/1"
    assert (report["kind"], report["method"], report["steps"]) == ("model", "sft", 12)
    assert report["valid_loss"] < report["valid_loss_base"]
    assert report["kl_to_base"] > 0
    assert report["audit"]["examples"] == report["audit"]["records"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "llmkit.json"} <= _names("run")
    best = list_checkpoints(Path("run"))[0]
    assert f"checkpoints/{best[-1].name}" == report["checkpoint"]
    assert load_model(Path("run")).config.vocab_size == 259
    assert json.loads(Path("run/llmkit.json").read_text())["command_line"].startswith("llmkit finetune base")


def test_checkpoints_at_a_multiple_stay_beside_the_last_one(finetune: Callable[..., Any]) -> None:
    report_of(finetune("--steps", 5, "--batch-rows", 2, "--keep", 1, "--keep-every", 2, "--json"))
    assert [folder.name[-1] for folder in list_checkpoints(Path("run"))[0]] == ["2", "4", "5"]


def test_the_folder_has_the_best_checkpoints_model_and_patience_ends_the_run(
    finetune: Callable[..., Any],
) -> None:
    flags = ["--valid-fraction", 0.2, "--steps", 40, "--lr", 0.3, "--eval-every", 1, "--patience", 2]
    report = report_of(finetune(*flags, "--json", "--batch-rows", 2, "--checkpoint-every", 1, "--keep", 1))
    losses = {one["step"]: one["valid_loss"] for one in records() if one.get("event") == "eval"}
    del losses[0]
    assert report["best_step"] == min(losses, key=losses.__getitem__)
    assert report["steps"] == report["best_step"] + 2 < report["planned_steps"] == 40
    kept = Path(f"run/checkpoints/step-{report['best_step']:08d}/model.safetensors")
    assert kept.read_bytes() == Path("run/model.safetensors").read_bytes()
    again = finetune(*flags, "--json", "--batch-rows", 2, "--checkpoint-every", 1, "--keep", 1)
    assert report_of(again)["steps"] == report["steps"]  # what is over stays over


def test_a_run_that_only_makes_the_base_worse_is_judged_by_the_model_that_it_leaves(
    finetune: Callable[..., Any], llmkit_run: Callable[..., Any]
) -> None:
    worse = ("--valid-fraction", 0.3, "--lr", 3.0, "--warmup-steps", 0, "--eval-every", 1)
    flags = (*worse, "--batch-rows", 2, "--keep", 1, "--checkpoint-every", 1)
    report = report_of(finetune(*flags, "--json"))
    losses = {one["step"]: one["valid_loss"] for one in records() if one.get("event") == "eval"}
    base = losses.pop(0)
    best = min(losses, key=losses.__getitem__)
    assert base < losses[best]  # each is worse
    assert (report["valid_loss_base"], report["valid_loss"]) == (base, losses[best])
    assert report["best_step"] == best
    kept = Path(f"run/checkpoints/step-{best:08d}/model.safetensors")
    assert kept.read_bytes() == Path("run/model.safetensors").read_bytes()
    gated = finetune(*flags, "--fail-above", (base + losses[best]) / 2)  # the base would pass
    assert (gated.status, f"found {losses[best]:.4f}" in gated.err) == (1, True)
    line = ("finetune", "base", "--data", "sft.jsonl", "-o", "run", "--threads", 1, "--steps", 4)
    assert "run: never better than the base" in llmkit_run(*line, *flags).err


def test_a_model_with_losses_that_are_no_numbers_passes_no_gate(finetune: Callable[..., Any]) -> None:
    flags = ("--valid-fraction", 0.3, "--lr", 1e37, "--warmup-steps", 0, "--on-nonfinite", "skip")
    for _ in range(2):  # also by what the metrics of the first say
        done = finetune(*flags, "--batch-rows", 2, "--fail-above", 1e9)
        assert (done.status, "the loss is no number (found nan)" in done.err) == (1, True), done.err


def test_other_validation_data_is_another_run_and_an_older_one_goes_on_with_any(
    finetune: Callable[..., Any],
) -> None:
    for name, numbers in (("a", range(4)), ("b", range(4, 8))):
        _lines(f"{name}.jsonl", [{"prompt": f"tell {n}", "completion": str(n)} for n in numbers])
    assert finetune("--valid", "a.jsonl").status == 0
    for flags, told in (
        (("--valid", "b.jsonl"), "valid_sha256"),
        (("--valid", "a.jsonl", "--eval-rows", 1), "eval_rows None there, 1 here"),
        ((), "valid_sha256"),
    ):
        refused = finetune(*flags)
        assert refused.status == 2 and told in refused.err
    for path in Path("run/checkpoints").glob("*/state.json"):  # as before it was said
        state = json.loads(path.read_text())
        assert state["recipe"].pop("valid_sha256") and state["recipe"].pop("eval_rows") is None
        path.write_text(json.dumps(state))
        marker = path.parent / "COMPLETE"
        facts = json.loads(marker.read_text())
        facts["state.json"] = path.stat().st_size
        marker.write_text(json.dumps(facts))
    assert finetune("--valid", "b.jsonl").status == 0


def test_a_line_that_is_a_list_of_messages_and_content_in_parts_are_learnt_as_the_rest(
    finetune: Callable[..., Any],
) -> None:
    def said(content: Any, answer: Any) -> list[dict[str, Any]]:
        return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]

    def part(text: str) -> dict[str, str]:
        return {"type": "text", "text": text}

    plain = [said("Hi you", "Hello"), said("Bye", "Go well")]
    _lines("plain.jsonl", [{"messages": one} for one in plain])
    nested = [said([part("Hi "), part("you")], [part("Hello")]), said("Bye", [part("Go "), part("well")])]
    Path("lists.jsonl").write_text("".join(json.dumps(one) + "\n" for one in nested))
    for data in ("plain", "lists"):
        assert finetune("--strict", data=f"{data}.jsonl", out=data).status == 0
    weights = [Path(run, "model.safetensors").read_bytes() for run in ("plain", "lists")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("flags", [(), ("--lora", "--rank", 2, "--dropout", 0.2), ("--last-layers", 1)])
def test_a_stopped_run_goes_on_to_the_same_bits(
    finetune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, flags: tuple[Any, ...]
) -> None:
    flags = (*flags, "--valid-fraction", 0.2, "--batch-rows", 2, "--eval-every", 2)
    assert finetune(*flags, out="straight").status == 0
    with monkeypatch.context() as patch:
        original = Trainer.train_step

        def stopping(trainer: Trainer) -> Any:
            if trainer.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(trainer)

        patch.setattr(Trainer, "train_step", stopping)
        stopped = finetune(*flags)
    assert stopped.status == 75
    assert "stopped at step 3 of 4 (SIGTERM); a checkpoint is saved" in stopped.err
    assert finetune(*flags).status == 0
    for name in ("optimizer.safetensors", "state.json"):
        ours, theirs = (Path(run, "checkpoints/step-00000004", name) for run in ("run", "straight"))
        assert ours.read_bytes() == theirs.read_bytes()
    product = "adapter_model.safetensors" if "--lora" in flags else "model.safetensors"
    assert Path("run", product).read_bytes() == Path("straight", product).read_bytes()
    losses = [[one["loss"] for one in steps_of(run)] for run in ("run", "straight")]
    assert losses[0] == losses[1]
    if "--lora" in flags:
        moments = load_file("run/checkpoints/step-00000004/optimizer.safetensors")
        assert moments and all(".lora_" in name for name in moments)


def test_an_adapter_run_leaves_pefts_folder_with_the_tokenizer_and_its_template(
    finetune: Callable[..., Any],
) -> None:
    report = report_of(finetune("--lora", "--rank", 2, "--targets", "q_proj,v_proj", "--json"))
    assert report["kind"] == "adapter"
    assert report["trained_parameters"] == 2 * 2 * 2 * (16 + 16)  # layers, modules, rank, in and out
    config = json.loads(Path("run/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (2, 4, "base")
    names = _names("run")
    assert {"adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "llmkit.json"} <= names
    assert "model.safetensors" not in names and "config.json" not in names


@pytest.mark.parametrize(
    ("method", "data", "figures"),
    [
        *((one, "pairs.jsonl", {"reward_margin", "reward_accuracy"}) for one in ("dpo", "ipo", "hinge")),
        *((one, "pairs.jsonl", {"reward_accuracy", "chosen_logp"}) for one in ("robust", "orpo", "simpo")),
        ("kto", "kto.jsonl", {"kl", "reward_margin"}),
        ("kd", "sft.jsonl", {"kl", "nll"}),
        ("grpo", "sft.jsonl", {"reward", "reward_std", "kl"}),
    ],
)
def test_every_method_learns_and_tells_its_figures(
    finetune: Callable[..., Any], method: str, data: str, figures: set[str]
) -> None:
    own = {"kd": ["--teacher", "base"], "grpo": ["--reward", REWARD, "--completion-tokens", 4]}
    flags = ["--method", method, "--valid-fraction", 0.3, "--steps", 2, "--batch-rows", 4]
    more = ["--lora", "--rank", 2, "--json"]
    report = report_of(finetune(*flags, *own.get(method, []), *more, data=data))
    assert figures <= set(steps_of()[-1])
    assert report["valid_loss"] is not None
    if "reward_accuracy" in figures:
        low, high = report["reward_accuracy_interval"]
        assert low <= report["valid"]["reward_accuracy"] <= high


def test_what_was_learnt_before_a_judge_died_is_saved(finetune: Callable[..., Any]) -> None:
    flags = ["--method", "grpo", "--completion-tokens", 2, "--group-size", 2, "--batch-rows", 1]
    flags += ["--steps", 9, "--checkpoint-every", 9]
    done = finetune(*flags, "--reward", "sed -u 's/.*/0.5/; 7q'")  # of the fourth update
    assert done.status == 3 and "after" in done.err
    assert [folder.name for folder in list_checkpoints(Path("run"))[0]] == ["step-00000003"]


def test_a_run_keeps_no_place_of_its_judge_and_goes_on_with_it_at_another(
    finetune: Callable[..., Any], tmp_path: Path
) -> None:
    flags = ["--method", "grpo", "--completion-tokens", 2, "--group-size", 2, "--batch-rows", 1, "--json"]
    judge, template = tmp_path / "one" / "judge.sh", tmp_path / "one" / "chat.jinja"
    for steps, folder in enumerate(("one", "two"), 1):
        place = judge.parent if steps == 1 else judge.parent.rename(tmp_path / folder)
        place.mkdir(exist_ok=True)
        (place / judge.name).write_text("sed -u s/.*/0.5/")
        (place / template.name).write_text("{% for one in messages %}{{ one.content }}{% endfor %}")
        own = ["--reward", f"sh {place / judge.name}", "--template", place / template.name]
        report_of(finetune(*flags, *own, "--schedule", "constant", "--steps", steps, "--warmup-steps", 0))
    assert [record["step"] for record in steps_of()] == [1, 2]
    texts = [path.read_text() for path in Path("run").rglob("*.json")]
    assert any("sh judge.sh" in text for text in texts) and str(tmp_path) not in "".join(texts)


def test_full_preference_training_compares_with_the_base_and_starts_at_log_2(
    finetune: Callable[..., Any],
) -> None:
    flags = ["--method", "dpo", "--lr", 0.001, "--valid", "pairs.jsonl", "--json"]
    report = report_of(finetune(*flags, data="pairs.jsonl"))
    assert report["valid_loss_base"] == pytest.approx(np.log(2), abs=1e-6)
    assert report["valid_loss"] < np.log(2) and report["kind"] == "model"


def test_the_model_answers_before_and_after(finetune: Callable[..., Any]) -> None:
    flags = ["--sample-prompt", "say 3", "--sample-tokens", 5, "--sample-temperature", 0, "--json"]
    (sample,) = report_of(finetune(*flags, "--lr", 0.05, "--steps", 8))["samples"]
    assert sample["prompt"] == "say 3" and sample["before"] != sample["after"]
    assert isinstance(sample["before"], str)


def test_records_with_faults_are_kept_anew_by_a_run_that_goes_on(finetune: Callable[..., Any]) -> None:
    records = [json.loads(line) for line in Path("sft.jsonl").read_text().splitlines()]
    _lines("sft.jsonl", [*records, {"prompt": "say", "completion": ""}])
    flags = ("--batch-rows", 2, "--rejects", "rejects.jsonl")
    assert finetune(*flags, "--max-time", "0.001s").status == 75
    kept = Path("rejects.jsonl").read_bytes()
    assert json.loads(kept)["_reject"]["rule"] == "answer.empty"
    assert finetune(*flags, "--dry-run").status == 0
    assert finetune(*flags).status == 0
    assert Path("rejects.jsonl").read_bytes() == kept
    Path("rejects.jsonl").write_text("mine\n")
    for more in ((), ("--dry-run",)):
        refused = finetune(*flags, *more)
        assert (refused.status, "rejects.jsonl: already exists" in refused.err) == (2, True)
    assert Path("rejects.jsonl").read_text() == "mine\n"


def test_rejects_of_another_run_are_not_replaced(finetune: Callable[..., Any]) -> None:
    Path("rejects.jsonl").write_text('{"prompt": "a", "_reject": {"stage": "finetune"}}\n')
    refused = finetune("--rejects", "rejects.jsonl")
    assert (refused.status, "already exists" in refused.err) == (2, True)


def test_data_comes_from_stdin_with_a_dash_and_without(
    finetune: Callable[..., Any], llmkit_run: Callable[..., Any]
) -> None:
    content = Path("sft.jsonl").read_bytes()
    assert finetune(out="named").status == 0
    assert finetune(data="-", out="dash", stdin=content).status == 0
    words = ["finetune", "base", "-o", "none", "--threads", 1, "-q", "--steps", 4]
    assert llmkit_run(*words, stdin=content).status == 0
    models = [Path(run, "model.safetensors").read_bytes() for run in ("named", "dash", "none")]
    assert models[0] == models[1] == models[2]


def test_a_dry_run_counts_and_writes_nothing(finetune: Callable[..., Any]) -> None:
    plan = report_of(finetune("--dry-run", "--json", "--lora", "--rank", 2, "--valid-fraction", 0.2))
    assert plan["schema"] == "llmkit.finetune-plan/1"
    assert (plan["kind"], plan["method"]) == ("lora", "sft")
    assert plan["trained_parameters"] == 2 * 2 * (4 * 32 + 3 * 48)
    assert plan["audit"]["learnt_tokens"] > 0 and plan["valid_rows"] > 0
    assert plan["memory_bytes"] > 0 and plan["step_seconds"] > 0
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("words", "data", "share"),
    [
        ((), "sft.jsonl", 1 / 3),  # forwards, of a pass forwards and two backwards
        (("--lora",), "sft.jsonl", 1 / 2),  # no gradient of the weights
        (("--method", "dpo"), "pairs.jsonl", 2 / 4),  # and a reference's pass forwards in both
        (("--method", "dpo", "--lora"), "pairs.jsonl", 2 / 3),
    ],
)
def test_a_dry_run_counts_the_evaluations_that_the_run_makes(
    finetune: Callable[..., Any], words: tuple[str, ...], data: str, share: float
) -> None:
    common = ("--steps", 5, "--eval-every", 2, "--valid-fraction", 0.5, "--batch-rows", 2, *words)
    plan = report_of(finetune(*common, "--dry-run", "--json", data=data))
    assert finetune(*common, data=data).status == 0
    events = [json.loads(line) for line in Path("run", "metrics.jsonl").read_text().splitlines()]
    assert plan["evaluations"] == sum(one["event"] == "eval" for one in events if "event" in one) == 4
    assert plan["evaluation_rows"] == plan["valid_rows"]
    each = plan["evaluation_rows"] / plan["batch_rows"] * plan["step_seconds"] * share
    assert plan["evaluation_seconds"] == pytest.approx(4 * each)
    assert plan["total_seconds"] == pytest.approx(5 * plan["step_seconds"] + plan["evaluation_seconds"])


def test_a_dry_run_of_several_processes_starts_none_and_counts_all(finetune: Callable[..., Any]) -> None:
    common = ("--dry-run", "--json", "--batch-rows", 4, "--micro-batch-rows", 2)
    one, two = report_of(finetune(*common)), report_of(finetune(*common, "--nproc", 2))
    assert (one["processes"], one["all_memory_bytes"], one["sent_bytes"]) == (1, None, {})
    assert (two["processes"], two["division"]) == (2, "dp 2")
    assert two["sent_bytes"] == {"gradients": 4 * two["trained_parameters"]}
    assert two["all_memory_bytes"] == 2 * two["memory_bytes"] > 2 * one["memory_bytes"]
    refused = finetune(*common, "--nproc", 2, "--method", "kto", data="kto.jsonl")
    assert refused.status == 2 and "by 2 processes" in refused.err


def test_nothing_is_packed_where_a_run_is_in_the_way_or_missing(finetune: Callable[..., Any]) -> None:
    missing = finetune("--resume", "must")
    assert missing.status == 4 and not Path("run").exists(), missing.err
    assert finetune().status == 0
    in_the_way = finetune("--resume", "never", data="pairs.jsonl")
    assert in_the_way.status == 2 and "has a run already" in in_the_way.err


def test_strict_refuses_data_with_a_fault_and_shows_it(finetune: Callable[..., Any]) -> None:
    _lines("bad.jsonl", [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": ""}])
    result = finetune("--strict", "--rejects", "rejects.jsonl", data="bad.jsonl")
    assert result.status == 1 and "answer.empty" in result.err
    (reject,) = [json.loads(line) for line in Path("rejects.jsonl").read_text().splitlines()]
    assert reject["_reject"]["rule"] == "answer.empty"
    assert not Path("run", "metrics.jsonl").exists()
    assert finetune(data="bad.jsonl").status == 0


def test_examples_are_shown_with_what_is_learnt_marked(finetune: Callable[..., Any]) -> None:
    result = finetune("--show-mask", 2)
    assert result.status == 0 and result.err.count("<|im_start|>assistant") == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rank", 4), "--rank without adapters"),
        (("--method", "kd"), "--method kd needs --teacher"),
        (("--method", "grpo"), "--method grpo needs --reward"),
        (("--reward", "true"), "--method sft has no use for --reward"),
        (("--beta", 0.1), "--beta with --method sft"),
        (("--patience", 2), "--patience watches the validation loss"),
        (("--valid", "sft.jsonl", "--valid-fraction", 0.1), "both --valid and --valid-fraction"),
        (("--lora", "--rope-scaling", "yarn:2"), "an adapter does not say that its base is stretched"),
        (("--lora", "--last-layers", 1), "--last-layers trains the weights themselves"),
        (("--metrics", "-", "--json"), "--json and --metrics -: both are for stdout"),
        (("--method", "dpo", "--beta", "nan"), "--beta must be finite (found nan)"),
        (("--show-mask", -1), "--show-mask must be at least 0 (found -1)"),
        (("--seq-len", 0), "--seq-len must be at least 1 (found 0)"),
        (("--seed", 2**63), "--seed must be at most 9223372036854775807"),
        (("--sample-prompt", "say", "--sample-tokens", 0), "--sample-tokens must be at least 1 (found 0)"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    finetune: Callable[..., Any], flags: tuple[Any, ...], message: str
) -> None:
    result = finetune(*flags)
    assert result.status == 2 and message in result.err
    assert not Path("run").exists()


def test_answers_beyond_the_models_positions_are_learnt_with_a_scaling(finetune: Callable[..., Any]) -> None:
    _lines("sft.jsonl", [{"prompt": "say", "completion": "yes " * 40}] * 8)
    short = finetune("--seq-len", 200)
    assert short.status == 2 and "the model has 128 positions" in short.err
    assert "hint: --rope-scaling yarn:2, or at most --seq-len 128" in short.err
    assert "hint: at most --seq-len 128" in finetune("--seq-len", 200, "--lora").err
    assert "hint: at most --seq-len 256" in finetune("--seq-len", 300, "--rope-scaling", "yarn:2").err
    assert finetune("--seq-len", 200, "--rope-scaling", "yarn:2", "--json").status == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["max_position_embeddings"] == 256
    assert config["rope_parameters"]["rope_type"] == "yarn"


def test_another_base_is_another_run(finetune: Callable[..., Any]) -> None:
    assert finetune("--lora").status == 0
    model = load_model(Path("base"))
    with torch.no_grad():
        model.model.norm.weight.mul_(2.0)
    shutil.move("base/model.safetensors", "old.safetensors")
    save_model(model, Path("base"))
    result = finetune("--lora")
    assert result.status == 2 and "initial_sha256" in result.err


def test_an_adapter_is_no_base(finetune: Callable[..., Any], llmkit_run: Callable[..., Any]) -> None:
    assert finetune("--lora").status == 0
    result = llmkit_run("finetune", "run", "--data", "sft.jsonl", "-o", "next")
    assert result.status == 2 and "llmkit merge" in result.err


PLAIN_ADAPTER: dict[str, Any] = {}
"""Of a run with no more than a rank and a rate: made once, the same for every test."""


@pytest.mark.parametrize(
    "flags",
    [
        ("--qlora", "--rank", 2),
        ("--dora", "--rank", 2),
        ("--rslora", "--rank", 4),
        ("--lora", "--rank", 2, "--save-modules", "embed_tokens"),
        ("--lora", "--rank", 2, "--lora-layers", 1),
        ("--lora", "--rank", 2, "--targets", ".*down_proj"),
        ("--lora", "--rank", 2, "--alpha", 1),
    ],
)
def test_each_kind_of_adapter_is_another_and_the_base_stays_as_it_is(
    finetune: Callable[..., Any], flags: tuple[Any, ...]
) -> None:
    before = Path("base/model.safetensors").read_bytes()
    assert finetune(*flags, "--lr", 0.01).status == 0
    if not PLAIN_ADAPTER:
        assert finetune("--lora", "--rank", 2, "--lr", 0.01, out="plain").status == 0
        PLAIN_ADAPTER.update(load_file(Path("plain/adapter_model.safetensors")))
    ours, plain = load_file(Path("run/adapter_model.safetensors")), PLAIN_ADAPTER
    assert ours.keys() != plain.keys() or any(
        ours[name].shape != plain[name].shape or not np.array_equal(ours[name], plain[name]) for name in ours
    )
    assert Path("base/model.safetensors").read_bytes() == before


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
def test_an_adapter_gives_peft_the_logits_that_it_was_trained_to(finetune: Callable[..., Any]) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    from llmkit.model.adapters.add_lora import attach_adapter
    from llmkit.model.adapters.load import load_adapter

    assert finetune("--lora", "--rank", 4, "--lr", 0.02, "--steps", 6).status == 0
    ids = torch.arange(40)[None]
    base = transformers.AutoModelForCausalLM.from_pretrained("base", dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, "run").eval()
    ours = load_model(Path("base"))
    with torch.no_grad():
        plain = ours(ids)
        attach_adapter(ours, load_adapter(Path("run"), ours.config))
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)
        assert (ours(ids) - plain).abs().max() > 1e-3


def test_layers_that_are_computed_again_end_with_the_same_weights(
    finetune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = []
    plain = recompute.checkpoint
    monkeypatch.setattr(
        recompute, "checkpoint", lambda *given, **how: again.append(1) or plain(*given, **how)
    )
    assert finetune(out="plain").status == 0
    assert again == []
    assert finetune("--activation-checkpointing", "full").status == 0
    assert again
    weights = [Path(run, "model.safetensors").read_bytes() for run in ("plain", "run")]
    assert weights[0] == weights[1]


def test_a_run_that_is_to_be_longer_goes_on_and_is_looked_at_again(finetune: Callable[..., Any]) -> None:
    flags = ("--schedule", "constant", "--valid-fraction", 0.3, "--batch-rows", 2, "--json")
    assert report_of(finetune(*flags, "--steps", 4))["steps"] == 4
    report = report_of(finetune(*flags, "--steps", 8))
    assert (report["steps"], report["resumed_step"]) == (8, 4)
    assert [one["step"] for one in records() if one.get("event") == "final"] == [4, 8]
