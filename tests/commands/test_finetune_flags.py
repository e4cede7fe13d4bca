"""What the flags of adapters come to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.commands.finetune_flags import Adapters
from llmkit.errors import ConfigError, UsageError


def test_without_a_word_of_adapters_there_are_none() -> None:
    assert Adapters().config() is None


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "qlora"])
def test_each_kind_brings_adapters_with_it(kind: str) -> None:
    config = Adapters(**{kind: True}).config()  # type: ignore[arg-type]
    assert config is not None
    assert (config.r, config.alpha, config.targets) == (16, 32.0, "all-linear")
    assert (config.use_rslora, config.use_dora) == (kind == "rslora", kind == "dora")


def test_alpha_follows_the_rank_unless_it_is_given() -> None:
    for alpha, expected in ((None, 8.0), (3.0, 3.0)):
        config = Adapters(lora=True, rank=4, alpha=alpha).config()
        assert config is not None and (config.r, config.alpha) == (4, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q_proj, mlp.up_proj", ("q_proj", "mlp.up_proj")),
        ("q_proj", ("q_proj",)),
        ("all-linear", "all-linear"),
        (r".*layers\.[01]\..*_proj", r".*layers\.[01]\..*_proj"),
    ],
)
def test_targets_are_names_or_one_pattern(text: str, expected: Any) -> None:
    config = Adapters(lora=True, targets=text, save_modules="lm_head,norm").config()
    assert config is not None
    assert config.targets == expected and config.modules_to_save == ("lm_head", "norm")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rank", 0), ("alpha", 1), ("dropout", 0.0), ("targets", "q_proj")),
        *(("lora_layers", 1), ("save_modules", "norm")),
    ],
)
def test_a_detail_without_adapters_is_refused_by_its_flag(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} without adapters"):
        Adapters(**{name: value}).config()


def test_a_rank_of_zero_is_not_taken_for_the_default() -> None:
    with pytest.raises(ConfigError, match="rank"):
        Adapters(lora=True, rank=0).config()


TRAINING: dict[str, Any] = {
    **{"batch_tokens": 512, "micro_batch_rows": 3, "min_lr_ratio": 0.1, "schedule": "wsd"},
    **{"warmup_steps": 4, "decay_ratio": 0.3, "beta1": 0.8, "beta2": 0.97, "weight_decay": 0.2},
    **{"clip": 0.5, "router_aux_loss_coef": 0.02, "router_z_loss_coef": 0.003},
    **{"router_bias_update": 0.004, "on_nonfinite": "skip", "on_spike": "skip", "sample_every": 6},
}


def test_what_is_said_about_training_reaches_it(
    monkeypatch: pytest.MonkeyPatch, llmkit_run: Callable[..., Any], tmp_path: Path
) -> None:
    seen: list[Any] = []

    def start(files: Any, config: Any, *, fail_above: float | None, **more: Any) -> None:
        seen.extend((config, fail_above))

    monkeypatch.setattr("llmkit.workflows.finetune.finetune.finetune", start)
    monkeypatch.setattr("llmkit.commands.finetune.print_report", lambda *told: None)
    flags = [word for name, value in TRAINING.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    line = ["finetune", tmp_path, "--data", tmp_path / "d.jsonl", "-o", tmp_path / "o", "--fail-above", "3.5"]
    assert llmkit_run(*line, *flags).status == 0
    config, fail_above = seen
    assert {name: getattr(config, name) for name in TRAINING} == TRAINING
    assert fail_above == 3.5
