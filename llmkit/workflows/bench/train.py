"""llmkit bench train: how long an update takes."""

from contextlib import ExitStack
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llmkit.errors import ConfigError
from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.probe.bench import OURS
from llmkit.probe.config import AUTO, BenchTrainConfig
from llmkit.probe.work import train_work
from llmkit.train.budget import resolve_micro_batch_rows
from llmkit.train.config import DECAY_RATIO, PretrainConfig, Recipe, default_lr
from llmkit.train.hardware import choose_dtype, choose_threads
from llmkit.train.optimizer import Optimizer
from llmkit.train.trainer import Trainer
from llmkit.workflows.bench.case import BenchCase, Point, check_positions
from llmkit.workflows.bench.peer import TRANSFORMERS, peer_optimizer, peer_step

_CPU = torch.device("cpu")
_BATCHES = 8
"""Batches of random rows to go round in."""


def row_bytes(point: Point, engines: int) -> int:
    """Of a case's batches: uint32 for llmkit, int64 beside them for a peer."""
    tokens = _BATCHES * int(point["batch_rows"]) * (int(point["seq_len"]) + 1)
    return tokens * (4 + 8 * (engines - 1))


class RandomRows:
    """Rows of random ids, each one document: a RowSource without a file."""

    def __init__(self, rows: int, seq_len: int, vocab_size: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.tokens = random.integers(vocab_size, size=(rows, seq_len + 1), dtype=np.uint32)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.tokens)

    def read(self, rows: NDArray[np.int64]) -> Rows:
        """Some rows, in the order asked for."""
        tokens = self.tokens[rows]
        return Rows(tokens, np.zeros(tokens.shape, np.int32), np.ones(tokens.shape, np.bool_))


def check(config: ModelConfig, point: Point) -> None:
    """Refuse rows that do not fit, and arithmetic that training does not have."""
    check_positions(config, point, int(point["seq_len"]))
    if point["dtype"] not in ("float32", "bfloat16"):
        raise ConfigError(f"training has no --dtype {point['dtype']}", hint="--dtype float32,bfloat16")


def resolve_dtype(config: ModelConfig, name: str) -> str:
    """`auto` is what `pretrain` would take."""
    return choose_dtype("auto", _CPU, config.hidden_size) if name == AUTO else name


def resolve_threads(config: ModelConfig, batch_rows: int, seq_len: int) -> int:
    """As many as `pretrain` would take."""
    work = train_work(config, batch_rows=_micro_batch_rows(batch_rows, seq_len), seq_len=seq_len)
    return choose_threads(None, torch.get_num_threads(), work.flops)


class TrainCases:
    """Makes cases over one model and one optimiser state a side: memory does not grow with the sweep.

    Args:
        model: float32; every case trains it on, which changes no speed.
        peer: transformers' over the same weights; None: no peer.
        settings: of the bench.
        stack: ends what a case has started.
    """

    def __init__(
        self, model: Transformer, peer: Any | None, settings: BenchTrainConfig, stack: ExitStack
    ) -> None:
        self._model = model
        self._peer = peer
        self._seed = settings.seed
        self._stack = stack
        self._optimizer: Optimizer | None = None
        self._peer_optimizer: torch.optim.Optimizer | None = None

    def build(self, point: Point) -> list[BenchCase]:
        """llmkit's case at a point, and the peer's where there is one."""
        config, batch_rows, seq_len = self._model.config, int(point["batch_rows"]), int(point["seq_len"])
        rows = RandomRows(_BATCHES * batch_rows, seq_len, config.vocab_size, self._seed)
        recipe = _recipe(config, point, self._seed, len(rows))
        micro = _micro_batch_rows(batch_rows, seq_len)
        trainer = Trainer(self._model, rows, recipe, micro_batch_rows=micro)
        self._stack.callback(trainer.close)
        self._optimizer = trainer.optimizer = self._optimizer or trainer.optimizer
        work = train_work(config, batch_rows=batch_rows, seq_len=seq_len)
        cases = [BenchCase(OURS, point, work, trainer.train_step)]
        if self._peer is not None:
            self._peer_optimizer = self._peer_optimizer or peer_optimizer(self._peer, recipe)
            batches = cycle(torch.split(torch.from_numpy(rows.tokens[:, :-1].astype("int64")), batch_rows))
            step = peer_step(self._peer, self._peer_optimizer, recipe, micro, lambda: next(batches))
            cases.append(BenchCase(TRANSFORMERS, point, work, step))
        return cases


def _micro_batch_rows(batch_rows: int, seq_len: int) -> int:
    return resolve_micro_batch_rows(
        PretrainConfig(), batch_rows=batch_rows, seq_len=seq_len, device_type="cpu"
    )


def _recipe(config: ModelConfig, point: Point, seed: int, rows: int) -> Recipe:
    defaults = PretrainConfig()
    return Recipe(
        model=config.to_hf(),
        initial_sha256=None,
        data_sha256="",
        tokenizer_sha256=None,
        seed=seed,
        rows=rows,
        seq_len=int(point["seq_len"]),
        steps=1,
        batch_rows=int(point["batch_rows"]),
        lr=default_lr(config.hidden_size),
        min_lr_ratio=1.0,  # the rate of every update: no schedule ends here
        schedule=defaults.schedule,
        warmup_steps=0,
        decay_ratio=DECAY_RATIO,
        beta1=defaults.beta1,
        beta2=defaults.beta2,
        weight_decay=defaults.weight_decay,
        clip=defaults.clip,
        dtype=str(point["dtype"]),
        document_mask=True,
    )
