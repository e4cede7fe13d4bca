"""A run of a model that is small enough to be worked out by hand, and its data."""

from typing import Any

import numpy as np

from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.train.config import PretrainConfig
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run.setup import Setup, set_up

MODEL = ModelConfig(
    vocab_size=48,
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=32,
)


def setup_of(data: PretrainData, model: ModelConfig = MODEL, **config: Any) -> Setup:
    """Its settings on a CPU, with nothing that the weights come from."""
    return set_up(PretrainConfig(device="cpu", **config), model, data, None)


class MemoryRows:
    """A RowSource over `count` rows of random ids, each one document."""

    def __init__(self, count: int, seq_len: int, vocab: int) -> None:
        self.tokens = np.random.default_rng(1).integers(0, vocab, (count, seq_len + 1), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, rows: Any) -> Rows:
        tokens = self.tokens[rows]
        return Rows(tokens, np.zeros(tokens.shape, np.int32), np.ones(tokens.shape, np.bool_))


def small_data(count: int = 20, seq_len: int = 8, vocab: int = 48, **fields: Any) -> PretrainData:
    """Data to train on, held in memory."""
    known = {"sha256": "d", "tokenizer_sha256": None, "bytes_per_token": None}
    settings = known | {"special_ids": {}, "inputs": {"shards": "d"}} | fields
    rows = MemoryRows(count, seq_len, vocab)
    return PretrainData(rows=rows, seq_len=seq_len, vocab_size=vocab, **settings)
