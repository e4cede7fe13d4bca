"""What the flags of finetune come to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAINING: dict[str, Any] = {
    **{"batch_tokens": 512, "micro_batch_rows": 3, "min_lr_ratio": 0.1, "schedule": "wsd"},
    **{"warmup_steps": 4, "decay_ratio": 0.3, "beta1": 0.8, "beta2": 0.97, "weight_decay": 0.2},
    **{"clip": 0.5, "router_aux_loss_coef": 0.02, "router_z_loss_coef": 0.003},
    **{"router_bias_update": 0.004, "on_nonfinite": "skip", "on_spike": "skip", "sample_every": 6},
}

SIMPO = {"method": "simpo", "beta": 2.5, "gamma": 0.4, "label_smoothing": 0.05}
KTO = {"method": "kto", "beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7}
KD = {"method": "kd", "teacher": Path("t"), "temperature": 1.25, "direction": "reverse", "hard_weight": 0.15}


@pytest.mark.parametrize("said", [TRAINING, SIMPO, KTO, KD])
def test_what_is_said_about_training_reaches_it(
    said: dict[str, Any], monkeypatch: pytest.MonkeyPatch, llmkit_run: Callable[..., Any], tmp_path: Path
) -> None:
    seen: list[Any] = []

    def start(files: Any, config: Any, *, fail_above: float | None, **more: Any) -> None:
        seen.extend((files, config, fail_above))

    monkeypatch.setattr("llmkit.workflows.finetune.finetune.finetune", start)
    monkeypatch.setattr("llmkit.commands.finetune.finetune.print_report", lambda *told, **how: None)
    flags = [word for name, value in said.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    line = ["finetune", tmp_path, "--data", tmp_path / "d.jsonl", "-o", tmp_path / "o", "--fail-above", "3.5"]
    assert llmkit_run(*line, *flags).status == 0
    files, config, fail_above = seen
    assert {name: getattr(files if name == "teacher" else config, name) for name in said} == said
    assert fail_above == 3.5
