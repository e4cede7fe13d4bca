"""A small run that every division of it has to repeat: its model, rows and recipe, and what came of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.formats.checkpoint import read_state
from llmkit.formats.shards import Rows
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe
from llmkit.train.evaluate import evaluate
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import ALONE, MeshRanks, Ranks
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import StepResult, Trainer
from tests.train.saved import save_trainer

ROWS = 26
SEQ_LEN = 16
BATCH_ROWS = 4


@dataclass(frozen=True)
class Run:
    """What is trained."""

    shape: dict[str, Any] = field(default_factory=dict)
    name: str = "tiny"
    recipe: dict[str, Any] = field(default_factory=dict)
    steps: int = 12
    micro: int = 1
    divided: dict[str, Any] = field(default_factory=dict)
    norms_every: int = 0
    save: Path | None = None
    """Where a checkpoint is written at the end."""
    resume: Path | None = None
    """Where it goes on from."""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    steps: list[StepResult]
    weights: dict[str, np.ndarray]
    """Where a model lies in parts, the first process has them."""
    valid_loss: float
    valid_tokens: int
    part_bytes: int
    """Of the weights that this process keeps."""

    @property
    def losses(self) -> list[float]:
        """Update by update."""
        return [one.loss for one in self.steps]


EXPERTS = {
    "router losses": Run(name="tiny-moe", recipe={"router_aux_loss_coef": 0.01, "router_z_loss_coef": 1e-3}),
    "selection bias": Run(name="tiny-moe-free", recipe={"router_bias_update": 1e-3}),
}


def latent_shape(q_lora_rank: int, kv_lora_rank: int = 16, rope: int = 4, values: int = 6) -> dict[str, Any]:
    widths = {"qk_nope_head_dim": 8, "qk_rope_head_dim": rope, "v_head_dim": values}
    latent = LatentConfig(kv_lora_rank=kv_lora_rank, q_lora_rank=q_lora_rank, **widths)
    shape = {"model_type": "deepseek_v3", "qk_norm": "none", "head_dim": 8 + rope, "rotary_dim": rope}
    shape |= {"num_key_value_heads": 4, "rope_interleaved": True, "attention_scale": (8 + rope) ** -0.5}
    return {**shape, "latent": latent}


def gpt_oss_shape() -> dict[str, Any]:
    experts = preset("tiny-moe", vocab_size=64, hidden_size=32).experts
    assert experts is not None
    shape = {"model_type": "gpt_oss", "attention_sinks": True, "attention_bias": True, "output_bias": True}
    of_all = {"layers": (0, 1), "intermediate_size": 64, "router_bias": True, "expert_bias": True}
    return {**shape, "experts": replace(experts, **of_all)}


HEADS = {
    "norms over all heads": Run(
        shape={"model_type": "olmo2", "qk_norm": "projection", "norm_placement": "after", "head_dim": 8}
    ),
    "sinks": Run(name="tiny-moe", shape=gpt_oss_shape()),
    "latents of keys": Run(name="tiny-moe-free", shape=latent_shape(q_lora_rank=0)),
    "latents of queries too": Run(name="tiny-moe-free", shape=latent_shape(q_lora_rank=12)),
}
"""Families whose heads have more in common than what they read."""


class Texts:
    """Rows of several documents, some of them ending in padding."""

    def __init__(self, count: int = ROWS) -> None:
        random = np.random.default_rng(5)
        tokens = random.integers(0, 64, (count, SEQ_LEN + 1)).astype(np.uint32)
        tokens[:, 1::2] = (tokens[:, :-1:2] * 3 + 1) % 64  # something to learn
        segments = np.sort(random.integers(0, 3, tokens.shape), axis=1).astype(np.int32)
        segments[::5, -4:] = -1
        self.rows = Rows(tokens, segments, segments >= 0)

    def __len__(self) -> int:
        return len(self.rows.tokens)

    def read(self, rows: np.ndarray) -> Rows:
        return Rows(self.rows.tokens[rows], self.rows.segments[rows], self.rows.loss[rows])


def config_of(run: Run) -> ModelConfig:
    """A model of two layers."""
    shape = {"vocab_size": 64, "max_position_embeddings": SEQ_LEN, "hidden_size": 32, "intermediate_size": 64}
    shape |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    if run.name != "gpt2":  # whose heads share the width: as large as the kernels of training take them
        shape["head_dim"] = 32
    return replace(preset(run.name, **{**shape, **run.shape}), initializer_range=0.1)


def run_on(degrees: Degrees | None, run: Run) -> Outcome:
    """The run on the processes that are connected; None: on this one alone."""
    ranks: Ranks = ALONE if degrees is None else MeshRanks(degrees, torch.device("cpu"))
    torch.manual_seed(0)
    config = config_of(run)
    if run.resume is None:
        model = Transformer(config)
        initialise(model, torch.Generator().manual_seed(3))
    else:
        model = load_weights(run.resume, torch.device("cpu"))
    settings: dict[str, Any] = {
        **{"model": config.to_hf(), "initial_sha256": None, "data_sha256": "d", "tokenizer_sha256": None},
        **{"seed": 0, "rows": ROWS, "seq_len": SEQ_LEN, "steps": 20, "batch_rows": BATCH_ROWS, "lr": 0.01},
        **{"min_lr_ratio": 0.1, "schedule": "cosine", "warmup_steps": 2, "decay_ratio": 0.5, "beta1": 0.9},
        **{"beta2": 0.95, "weight_decay": 0.1, "clip": 0.5, "dtype": "float32", "document_mask": True},
    }
    recipe = Recipe(**{**settings, **run.recipe})
    divided = Divided(model, ranks, **run.divided)
    trainer = Trainer(divided, Texts(), recipe, micro_batch_rows=run.micro, norms_every=run.norms_every)
    try:
        if run.resume is not None:
            restore_trainer(trainer, run.resume, read_state(run.resume))
        results = [trainer.train_step() for _ in range(run.steps)]
        found = evaluate(
            trainer.divided, Texts(7), batch_rows=4, document_mask=True, autocast=trainer.autocast
        )
        if run.save is not None:
            run.save.mkdir(exist_ok=True)
            save_trainer(trainer, run.save, threads=1)
        whole = trainer.divided.whole_tensors().items()
        weights = {name: one.detach().numpy().copy() for name, one in whole if not one.is_meta}
        kept = sum(
            (one.to_local() if hasattr(one, "to_local") else one).nbytes for one in trainer.model.parameters()
        )
        return Outcome(results, weights, found.loss, found.tokens, kept)
    finally:
        trainer.close()


def runs_on(plans: list[tuple[Degrees | None, Run]]) -> list[Outcome]:
    """Several runs, one after the other."""
    return [run_on(degrees, run) for degrees, run in plans]


def assert_same(found: Outcome, expected: Outcome, *, close: float = 1e-5) -> None:
    """The same curve, and the same weights at its end, up to rounding."""
    assert found.losses == pytest.approx(expected.losses, rel=close)
    norms = [[one.grad_norm for one in run.steps] for run in (found, expected)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert [one.tokens for one in found.steps] == [one.tokens for one in expected.steps]
    assert found.valid_loss == pytest.approx(expected.valid_loss, rel=close)
    assert found.valid_tokens == expected.valid_tokens
    for name, weight in expected.weights.items() if found.weights else ():
        if name.endswith("k_proj.bias"):  # moves all scores of a query alike: what it learns is rounding
            continue
        np.testing.assert_allclose(found.weights[name], weight, rtol=1e-3, atol=2e-4, err_msg=name)
