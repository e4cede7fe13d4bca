"""A fine-tuning run in processes of its own that is killed goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from zygote import EXECUTABLE

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer

SIZES: dict[str, Any] = {
    **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.2},
}
KILL_BEFORE_STEP_4 = """
import os, signal
from llmkit.train.trainer import Trainer
original = Trainer.train_step
def train_step(self):
    if self.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self)
Trainer.train_step = train_step
"""
RUN = "from llmkit.cli import main\nmain()\n"
KILLED_ONCE = f"""
import os
if os.environ["RANK"] == "1" and os.environ["LLMKIT_RESTARTS"] == "0":
    exec({KILL_BEFORE_STEP_4!r})
{RUN}"""
BY_ANOTHER_PROGRAM = "from llmkit.workflows.run import launch\nlaunch.MODULE = 'killed_once'\n"
STATE = ("adapter_model.safetensors", "trained.safetensors", "optimizer.safetensors", "state.json")
LINE = [
    *("finetune", "base", "--data", "data.jsonl", "--method", "dpo", "--lora", "--rank", "2", "-q"),
    *("--valid-fraction", "0.3", "--steps", "5", "--batch-rows", "2", "--threads", "1"),
    *("--checkpoint-every", "2", "--eval-every", "2", "--json"),
]


@pytest.fixture
def finetune(
    tmp_path: Path, byte_tokenizer: Tokenizer, forked_python: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run five steps of `llmkit finetune` on twelve pairs in a process of its own, after some Python."""
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    (tmp_path / "base").mkdir()
    save_model(model, tmp_path / "base")
    byte_tokenizer.save(tmp_path / "base")
    records = [{"prompt": f"{n}?", "chosen": "yes", "rejected": f"no {n}"} for n in range(12)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "killed_once.py").write_text(KILLED_ONCE)

    def call(out: str, *flags: str, before: str = "") -> subprocess.CompletedProcess[str]:
        words = [forked_python, "-c", before + RUN, *LINE, "-o", out, *flags]
        return subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, EXECUTABLE: str(forked_python)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


def test_a_killed_preference_run_of_an_adapter_ends_with_the_same_bits(
    finetune: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    straight = finetune("straight", "--dropout", "0.1")
    assert straight.returncode == 0, straight.stderr
    assert finetune("run", "--dropout", "0.1", before=KILL_BEFORE_STEP_4).returncode == -signal.SIGKILL
    assert finetune("run", "--dropout", "0.1").returncode == 0
    for name in STATE:
        ours, theirs = (tmp_path / run / "checkpoints/step-00000005" / name for run in ("run", "straight"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_two_processes_have_the_losses_of_one_and_go_on_by_themselves_where_one_is_killed(
    finetune: Callable[..., subprocess.CompletedProcess[str]],
    llmkit_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llmkit_run(*LINE, "-o", "alone").status == 0
    for result in (
        finetune("both", "--nproc", "2"),
        finetune("lost", "--nproc", "2", "--max-restarts", "1", before=BY_ANOTHER_PROGRAM),
    ):
        assert result.returncode == 0, result.stderr
    alone, both, lost = (_told(tmp_path / run / "metrics.jsonl") for run in ("alone", "both", "lost"))
    assert len(alone) > 5 and both == pytest.approx(alone, rel=1e-5)
    assert len(set(alone)) > 5  # it does learn
    assert lost == both
    for name in STATE:
        ours, theirs = (tmp_path / run / "checkpoints/step-00000005" / name for run in ("lost", "both"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_two_processes_with_dropout_end_with_the_same_bits_where_one_is_killed(
    finetune: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    flags = ("--nproc", "2", "--dropout", "0.5")
    anew = ("--max-restarts", "1", "--rejects", "kept")  # each start keeps them
    for result in (finetune("both", *flags), finetune("lost", *flags, *anew, before=BY_ANOTHER_PROGRAM)):
        assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in (tmp_path / "lost" / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in records if one.get("event") == "start"] == [0, 2]
    for name in STATE:
        ours, theirs = (tmp_path / run / "checkpoints/step-00000005" / name for run in ("lost", "both"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_run_that_starts_over_and_loses_a_process_at_once_does_not_end_as_the_old_one(
    finetune: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    flags = ("--nproc", "2", "--checkpoint-every", "5")
    anew = ("--seed", "7", "--max-restarts", "1", "--resume", "never", "--force")
    for result in (
        finetune("fresh", *flags, "--seed", "7"),
        finetune("run", *flags),
        finetune("run", *flags, *anew, before=BY_ANOTHER_PROGRAM),
    ):
        assert result.returncode == 0, result.stderr
    assert _told(tmp_path / "run" / "metrics.jsonl") == _told(tmp_path / "fresh" / "metrics.jsonl")


def _told(path: Path) -> list[float]:
    """The losses of a run's steps and evaluations, in order."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [one[key] for one in records for key in ("loss", "valid_loss") if one.get(key) is not None]
