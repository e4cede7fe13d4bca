"""A trainer put back: as one that never went on."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.formats.checkpoint import read_state
from llmkit.model.transformer import Transformer
from llmkit.train.rewind import put_at_start, put_weights
from llmkit.train.state import load_weights, restore_trainer
from llmkit.train.trainer import Trainer
from tests.train.saved import save_trainer


@pytest.fixture
def make_trainer(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any], tiny_model: Transformer
) -> Callable[[], Trainer]:
    """A trainer over 20 rows."""

    def make() -> Trainer:
        recipe = make_recipe(rows=20, lr=0.01, model=tiny_model.config.to_hf())
        return Trainer(copy.deepcopy(tiny_model), make_rows(20), recipe, micro_batch_rows=4)

    return make


def _everything(trainer: Trainer) -> dict[str, Any]:
    tensors = {**trainer.model.state_dict(), **trainer.state_tensors()}
    return {name: tensor.tolist() for name, tensor in tensors.items()} | trainer.state()


def test_put_at_the_start_a_trainer_learns_as_a_fresh_one_does(
    make_trainer: Callable[[], Trainer], tiny_model: Transformer
) -> None:
    fresh, back = make_trainer(), make_trainer()
    back.train_step(), back.train_step()
    put_at_start(back, tiny_model)
    assert _everything(back) == _everything(fresh)
    assert back.train_step() == fresh.train_step()
    assert _everything(back) == _everything(fresh)


def test_put_back_to_a_checkpoint_a_trainer_learns_as_if_it_had_not_gone_on(
    make_trainer: Callable[[], Trainer], tmp_path: Path
) -> None:
    straight, back = make_trainer(), make_trainer()
    for trainer in (straight, back):
        trainer.train_step(), trainer.train_step()
    save_trainer(back, tmp_path, threads=1)
    back.train_step(), back.train_step()
    put_weights(back, load_weights(tmp_path, torch.device("cpu")))
    restore_trainer(back, tmp_path, read_state(tmp_path))
    assert _everything(back) == _everything(straight)
    assert back.train_step() == straight.train_step()
    assert _everything(back) == _everything(straight)
