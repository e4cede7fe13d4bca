"""Memory of training: the published bytes a parameter, and what each setting takes away."""

from typing import Any

import pytest

from llmkit.errors import ConfigError, GateFailed, UsageError
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.models import ModelSources
from llmkit.workflows.kv_estimate.training import (
    TrainingEstimate,
    check_training_fits,
    estimate_training,
)

PARAMETERS = 6_738_415_616


def _train(settings: EstimateConfig | None = None, **training: Any) -> TrainingEstimate:
    sources = ModelSources(presets=("llama-2-7b",))
    (one,) = estimate_training(sources, settings or EstimateConfig(context=128), training)
    return one


def _states(one: TrainingEstimate) -> int:
    return one.weights_bytes + one.gradients_bytes + one.master_weights_bytes + one.optimizer_bytes


@pytest.mark.parametrize(
    ("precision", "each"), [("bf16-master", 18), ("mixed16", 16), ("fp32", 16), ("bf16", 8)]
)
def test_a_parameter_takes_the_published_bytes(precision: str, each: int) -> None:
    assert _states(_train(precision=precision)) == each * PARAMETERS


def test_the_parts_are_the_total_and_fsdp_divides_what_stays() -> None:
    one = _train(precision="mixed16", zero=3, data_parallel=8)
    assert _states(one) == 16 * PARAMETERS // 8
    assert one.total_bytes == _states(one) + one.gathered_bytes + one.activations_bytes
    assert one.settings["zero"] == 3 and one.settings["seq_len"] == 128


def test_context_and_batch_are_the_rows() -> None:
    short = _train(EstimateConfig(context=64, batch=2)).activations_bytes
    assert _train(EstimateConfig(context=64, batch=4)).activations_bytes == 2 * short


def test_adapters_train_little() -> None:
    one = _train(lora_rank=8)
    # 32 layers of q, k, v, o (4096 x 4096) and gate, up, down (4096 x 11008)
    assert one.trained_parameters == 8 * 32 * (4 * (4096 + 4096) + 3 * (4096 + 11_008))
    assert one.gradients_bytes == 4 * one.trained_parameters


def test_what_does_not_fit_is_a_gate() -> None:
    over = _train(EstimateConfig(context=128, memory_bytes=80 << 30))
    assert over.fits is False
    with pytest.raises(GateFailed, match="training llama-2-7b does not fit 85,899,345,920 bytes"):
        check_training_fits([over])
    check_training_fits([_train(), _train(EstimateConfig(context=128, memory_bytes=1 << 40))])


def test_a_cache_alone_cannot_be_trained_and_wrong_words_are_named() -> None:
    cache = ModelSources(overrides={"num_hidden_layers": 1, "num_key_value_heads": 1, "head_dim": 8})
    with pytest.raises(UsageError, match="--train needs the weights"):
        estimate_training(cache, EstimateConfig(), {})
    with pytest.raises(ConfigError, match="optimizer 'adam'"):
        _train(optimizer="adam")
