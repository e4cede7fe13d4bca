"""A recipe whose every field can be changed, and rows held in memory."""

from collections.abc import Callable

import pytest

from llmkit.train.config import Recipe


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    """A run of 110 steps, 10 of them warm-up, with some fields changed."""

    def make(**fields: object) -> Recipe:
        settings: dict[str, object] = {
            **{"model": {}, "initial_sha256": None, "data_sha256": "d", "tokenizer_sha256": None, "seed": 0},
            **{"rows": 100, "seq_len": 8, "steps": 110, "batch_rows": 4, "lr": 1.0, "min_lr_ratio": 0.1},
            **{"schedule": "cosine", "warmup_steps": 10, "decay_ratio": 0.5, "beta1": 0.9, "beta2": 0.95},
            **{"weight_decay": 0.1, "clip": 1.0, "dtype": "float32", "document_mask": True},
        }
        return Recipe(**{**settings, **fields})  # type: ignore[arg-type]

    return make
