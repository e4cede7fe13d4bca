"""Copies of snapshots: equal, and with nothing in common."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.snapshot_copy import copy_snapshot
from llmkit.train.state import take_snapshot, write_snapshot
from llmkit.train.trainer import Trainer


@pytest.mark.parametrize("kind", ["apart", "tied", "compiled"])
def test_a_copy_writes_the_same_files_after_training_went_on(
    kind: str,
    make_recipe: Callable[..., Any],
    make_rows: Callable[..., Any],
    tmp_path: Path,
    tiny_model: Transformer,
) -> None:
    model = tiny_model
    if kind == "tied":
        model = Transformer(replace(tiny_model.config, tie_word_embeddings=True))
        initialise(model, torch.Generator().manual_seed(0))
    if kind == "compiled":
        model._compiled_call_impl = model._call_impl  # what compile() leaves, without the minute it takes
    recipe = make_recipe(rows=20, lr=0.01, model=model.config.to_hf())
    trainer = Trainer(model, make_rows(20), recipe, micro_batch_rows=4)
    trainer.train_step()
    (tmp_path / "now").mkdir()
    (tmp_path / "later").mkdir()
    snapshot = take_snapshot(trainer, threads=1)
    copied = copy_snapshot(snapshot)
    write_snapshot(snapshot, tmp_path / "now")
    trainer.train_step()
    write_snapshot(copied, tmp_path / "later")
    for file in (tmp_path / "now").iterdir():
        assert (tmp_path / "later" / file.name).read_bytes() == file.read_bytes(), file.name
    assert copied.model is not model and not any(one.requires_grad for one in copied.model.parameters())
    assert len(list(copied.model.parameters())) == len(list(model.parameters()))
