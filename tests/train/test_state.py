"""A trainer in a folder: every kind of model goes on bit for bit, and chance with it."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from llmkit.formats.checkpoint import OPTIMIZER, read_state
from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.state import (
    MODEL_FILES,
    Product,
    checkpoint_bytes,
    load_trained,
    load_weights,
    restore_trainer,
)
from llmkit.train.trainer import Trainer
from tests.train.saved import save_trainer

CPU = torch.device("cpu")
SIZES = {
    **{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.2},
}
GPT2 = {
    **{"model_type": "gpt2", "norm": "layer", "attention_bias": True, "output_bias": True, "mlp_bias": True},
    **{"gated_mlp": False, "hidden_act": "gelu_new", "tie_word_embeddings": True},
}
KINDS: dict[str, dict[str, Any]] = {
    "llama, grouped": {"num_key_value_heads": 1},
    "qwen3, tied": {"model_type": "qwen3", "qk_norm": "head", "tie_word_embeddings": True},
    "gpt2, learned": {**GPT2, "position": "learned"},
    "gpt2, sinusoidal": {**GPT2, "position": "sinusoidal"},
}


@pytest.fixture
def make_trainer(
    make_recipe: Callable[..., Any], make_rows: Callable[..., Any]
) -> Iterator[Callable[..., Trainer]]:
    """A Trainer over 20 rows for a model, or for a fresh one of a kind."""
    made: list[Trainer] = []

    def make(model: Transformer | None = None, **fields: Any) -> Trainer:
        if model is None:
            model = Transformer(ModelConfig(**{**SIZES, **fields}))
            initialise(model, torch.Generator().manual_seed(0))
        recipe = make_recipe(lr=0.01, rows=20, model=model.config.to_hf())
        made.append(Trainer(model, make_rows(20, documents=2), recipe, micro_batch_rows=4))
        return made[-1]

    yield make
    for trainer in made:
        trainer.close()


def _steps(trainer: Trainer, count: int) -> list[tuple[float, float]]:
    return [(result.loss, result.grad_norm) for result in (trainer.train_step() for _ in range(count))]


@pytest.mark.parametrize("kind", KINDS)
def test_three_steps_a_folder_and_three_more_are_six_steps(
    make_trainer: Callable[..., Trainer], tmp_path: Path, kind: str
) -> None:
    straight = make_trainer(**KINDS[kind])
    first = make_trainer(copy.deepcopy(straight.model))
    expected = _steps(straight, 6)
    assert _steps(first, 3) == expected[:3]
    save_trainer(first, tmp_path, threads=1)

    second = make_trainer(load_weights(tmp_path, CPU))
    restore_trainer(second, tmp_path, read_state(tmp_path))
    assert second.model.config == straight.model.config
    assert _steps(second, 3) == expected[3:]
    for name, weight in straight.model.named_parameters():
        assert torch.equal(second.model.get_parameter(name), weight), name
    assert second.state() == straight.state()


def test_dropout_leaves_out_the_same_whatever_was_drawn_before(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    def adapted(folder: Path | None = None) -> Trainer:
        model = Transformer(ModelConfig(**SIZES))
        initialise(model, torch.Generator().manual_seed(0))
        add_lora(model, LoraConfig(r=2, dropout=0.5), 0)
        if folder is not None:
            load_trained(model, folder)
        return make_trainer(model)

    straight, first = adapted(), adapted()
    torch.manual_seed(11)
    expected = _steps(straight, 4)
    torch.manual_seed(12)
    assert _steps(first, 2) == expected[:2]
    product = Product((), lambda model, folder: None)
    save_trainer(first, tmp_path, threads=1, product=product)
    second = adapted(tmp_path)
    restore_trainer(second, tmp_path, read_state(tmp_path))
    torch.manual_seed(99)
    assert _steps(second, 2) == expected[2:]
    for name, weight in straight.model.named_parameters():
        assert torch.equal(second.model.get_parameter(name), weight), name


def test_a_checkpoint_that_has_a_generators_state_is_read(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    save_trainer(make_trainer(), tmp_path, threads=1)
    path = tmp_path / "state.json"
    old = {**json.loads(path.read_text()), "random": {"torch": "AP8="}}
    expected = read_state(tmp_path)
    path.write_text(json.dumps(old))
    assert read_state(tmp_path) == expected


def test_the_state_tells_what_the_run_was_and_the_folder_is_a_models(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = make_trainer()
    _steps(trainer, 2)
    save_trainer(trainer, tmp_path, threads=3)
    state = read_state(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {*MODEL_FILES, OPTIMIZER, "state.json"}
    assert (state.recipe, state.threads) == (asdict(trainer.recipe), 3)
    assert state.versions == {"torch": str(torch.__version__), "numpy": np.__version__}
    assert (state.trainer["step"], state.trainer["row_cursor"], state.trainer["tokens"]) == (
        2,
        2 * 4,
        trainer.tokens,
    )
    weights = load_file(tmp_path / "model.safetensors")
    assert weights.keys() == trainer.model.state_dict().keys()
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_loaded_weights_do_not_change_with_their_file(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = make_trainer()
    save_trainer(trainer, tmp_path, threads=1)
    model = load_weights(tmp_path, CPU)
    path = tmp_path / "model.safetensors"
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    for name, weight in trainer.model.named_parameters():
        assert torch.equal(model.get_parameter(name), weight), name


def test_weights_in_bfloat16_are_trained_in_float32(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    from llmkit.model.save import save_model

    model = make_trainer().model
    save_model(model, tmp_path, dtype=torch.bfloat16)
    for name, weight in load_weights(tmp_path, CPU).named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, model.get_parameter(name).bfloat16().float()), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_a_checkpoint_is_known_before_it_is_written(
    make_trainer: Callable[..., Trainer], tmp_path: Path, kind: str
) -> None:
    trainer = make_trainer(**KINDS[kind])
    _steps(trainer, 1)
    save_trainer(trainer, tmp_path, threads=1)
    written = sum(file.stat().st_size for file in tmp_path.iterdir())
    predicted = checkpoint_bytes(sum(weight.numel() for weight in trainer.model.parameters()))
    assert written <= predicted <= written + (32 << 10)
