"""Small artefacts to look at and to break: made with numpy and safetensors, no torch."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from llmkit.model.config import ModelConfig
from llmkit.model.shapes import tensor_shapes

TINY = ModelConfig(
    vocab_size=48,
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
    tie_word_embeddings=True,
)


@pytest.fixture
def tiny_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a Llama-shaped model folder of a few kilobytes: `tiny_model("m", hidden_size=16)`."""

    def build(name: str = "model", **overrides: Any) -> Path:
        config = replace(TINY, **overrides)
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config.to_hf()))
        random = np.random.default_rng(0)
        save_file(
            {key: random.normal(size=shape).astype("f4") for key, shape in tensor_shapes(config).items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        return folder

    return build


@pytest.fixture
def tiny_adapter(tmp_path: Path) -> Callable[..., Path]:
    """Write a PEFT adapter for `tiny_model`: rank 2 on q_proj and v_proj of both layers."""

    def build(name: str = "adapter", *, drop: str = "", width: int = 8, **overrides: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        config = {
            **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "model"},
            **{"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "modules_to_save": None},
        }
        (folder / "adapter_config.json").write_text(json.dumps(config | overrides))
        tensors = {}
        for layer in range(2):
            for module, out in (("q_proj", 8), ("v_proj", 4)):
                prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
                tensors[f"{prefix}.lora_A.weight"] = np.ones((2, width), "f4")
                tensors[f"{prefix}.lora_B.weight"] = np.zeros((out, 2), "f4")
        save_file(
            {key: one for key, one in tensors.items() if key != drop}, folder / "adapter_model.safetensors"
        )
        return folder

    return build


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """Write a metrics file of `steps` steps whose loss falls from 5 towards 2, with evals and a stop."""

    def build(
        path: Path | None = None, steps: int = 40, skip: tuple[int, ...] = (), stop: bool = True
    ) -> Path:
        path = path or tmp_path / "metrics.jsonl"
        lines: list[dict[str, Any]] = [{"event": "start", "step": 0, "time_seconds": 0.0}]
        for step in range(1, steps + 1):
            loss = 2 + 3 / step
            if step not in skip:
                lines.append(
                    {"time_seconds": step / 10, "step": step, "tokens": 64 * step, "loss": loss, "lr": 1e-3}
                    | {"grad_norm": 1.0, "tokens_per_second": 640.0 + step}
                )
            if step % 10 == 0:
                lines.append({"event": "eval", "step": step, "valid_loss": loss + 0.1, "bits_per_byte": loss})
        if stop:
            lines.append({"event": "stop", "step": steps, "reason": "done"})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return build
