"""A recipe whose every field can be changed, and rows held in memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
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


class MemoryRows:
    """A RowSource over arrays."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows.tokens)

    def read(self, rows: np.ndarray) -> Rows:
        return Rows(self.rows.tokens[rows], self.rows.segments[rows], self.rows.loss[rows])


@pytest.fixture
def make_rows() -> Callable[..., MemoryRows]:
    """`count` rows of `seq_len` + 1 random ids: `documents` in each, `padding` last, `masked` at random."""

    def make(
        count: int = 20,
        seq_len: int = 8,
        *,
        vocab: int = 32,
        documents: int = 1,
        padding: int = 0,
        masked: float = 0,
    ) -> MemoryRows:
        random = np.random.default_rng(5)
        tokens = random.integers(0, vocab, (count, seq_len + 1), dtype=np.uint32)
        cuts = np.sort(random.integers(1, seq_len, (count, documents - 1)), axis=1)
        segments = (np.arange(seq_len + 1)[None, None] >= cuts[:, :, None]).sum(axis=1).astype(np.int32)
        loss = random.random(tokens.shape) >= masked
        if padding:
            segments[:, -padding:], loss[:, -padding:] = -1, False
        return MemoryRows(Rows(tokens, segments, loss))

    return make


@pytest.fixture
def tiny_model() -> Transformer:
    """Two layers of width 16 over 32 ids, drawn from seed 0."""
    config = ModelConfig(
        model_type="qwen3",
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        qk_norm="head",
        initializer_range=0.2,
    )
    model = Transformer(config)
    initialise(model, torch.Generator().manual_seed(0))
    return model
