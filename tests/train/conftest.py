"""A recipe whose every field can be changed, and rows held in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe
from llmkit.train.pair_rows import PairRows, Tokens


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


@pytest.fixture
def reference(tiny_model: Transformer) -> Transformer:
    """Another of the same shape, drawn from seed 7."""
    model = Transformer(tiny_model.config)
    initialise(model, torch.Generator().manual_seed(7))
    return model


@pytest.fixture
def make_pairs() -> Callable[..., PairRows]:
    """Random pairs: `kinds` of each, "both", "chosen" or "rejected"; ids below 32, answers of 1 to 4 ids."""

    def make(*kinds: str, seed: int = 3) -> PairRows:
        random = np.random.default_rng(seed)

        def answer() -> Tokens:
            prompt, length = random.integers(1, 4), random.integers(1, 5)
            ids = random.integers(0, 32, prompt + length).tolist()
            return Tokens(ids, [False] * prompt + [True] * length)

        return PairRows(
            (None if kind == "rejected" else answer(), None if kind == "chosen" else answer())
            for kind in kinds
        )

    return make


class Largest(TorchDispatchMode):
    """Counts the values of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, Tensor):
                self.values = max(self.values, one.numel())
        return result


@pytest.fixture
def make_largest() -> Callable[[], Largest]:
    """A context that counts the values of the largest tensor made in it."""
    return Largest
