"""How a model is trained: what is refused, and what QLoRA holds of a weight."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.training_settings import OPTIMIZERS, PRECISIONS, QLORA_BITS, TrainingSettings


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"optimizer": "adam"}, "unknown optimizer 'adam'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"zero": 4}, "zero is not 0, 1, 2 or 3"),
        ({"data_parallel": 0}, "data_parallel is not at least 1"),
        ({"micro_batches": 0}, "micro_batches is not at least 1"),
        ({"lora_modules": ("q_proj",)}, "lora_rank is not set"),
        ({"lora_rank": 8, "frozen_bits": 0.0}, "frozen_bits is not above 0"),
        ({"recompute": "half"}, "unknown recompute 'half'"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TrainingSettings(**{"seq_len": 1, **wrong})


def test_every_optimiser_goes_with_every_precision() -> None:
    for optimizer in OPTIMIZERS:
        for precision in PRECISIONS:
            settings = TrainingSettings(**{"seq_len": 1, "optimizer": optimizer, "precision": precision})
            assert (settings.optimizer, settings.precision) == (optimizer, precision)


def test_qlora_has_a_byte_for_64_weights_and_four_for_256_of_these() -> None:
    weights = 64 * 256
    assert weights * QLORA_BITS == weights * 4 + 256 * 8 + 32


def test_frozen_weights_go_with_adapters_only() -> None:
    assert TrainingSettings(seq_len=1, lora_rank=8, frozen_bits=QLORA_BITS).frozen_bits == QLORA_BITS
    with pytest.raises(ConfigError) as caught:
        TrainingSettings(seq_len=1, frozen_bits=QLORA_BITS)
    assert caught.value.hint == "set lora_rank"
