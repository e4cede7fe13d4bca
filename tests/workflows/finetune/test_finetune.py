"""A fine-tuning run in a process of its own that is killed goes on as if nothing had happened."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

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


def test_a_killed_preference_run_of_an_adapter_ends_with_the_same_bits(
    tmp_path: Path, byte_tokenizer: Tokenizer
) -> None:
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(0))
    (tmp_path / "base").mkdir()
    save_model(model, tmp_path / "base")
    byte_tokenizer.save(tmp_path / "base")
    records = [{"prompt": f"{n}?", "chosen": "yes", "rejected": f"no {n}"} for n in range(12)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    line = ["finetune", "base", "--data", "data.jsonl", "--method", "dpo", "--lora", "--rank", "2", "-q"]
    line += [
        "--dropout",
        "0.1",
        "--valid-fraction",
        "0.3",
        "--steps",
        "5",
        "--batch-rows",
        "2",
        "--threads",
        "1",
    ]
    line += ["--threads", "1", "--checkpoint-every", "2", "--eval-every", "2", "--json"]

    def call(out: str, before: str = "") -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", before + RUN, *line, "-o", out]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    straight = call("straight")
    assert straight.returncode == 0, straight.stderr
    assert call("run", KILL_BEFORE_STEP_4).returncode == -signal.SIGKILL
    assert call("run").returncode == 0
    for name in ("adapter_model.safetensors", "trained.safetensors", "optimizer.safetensors", "state.json"):
        ours, theirs = (tmp_path / run / "checkpoints/step-00000005" / name for run in ("run", "straight"))
        assert ours.read_bytes() == theirs.read_bytes(), name
