"""A Trainer to and from a checkpoint folder, so that a resumed run goes on bit for bit."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.checkpoint import OPTIMIZER, CheckpointState, write_state
from llmkit.formats.safetensors_write import system_errors
from llmkit.model.adapters.lora import adapter_parameters
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.train.trainer import Trainer

MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors")
"""The files of a checkpoint that make the run folder a model folder."""
TRAINED = "trained.safetensors"
_ONE_FILE = 1 << 62  # bytes: weights in one file can be replaced in one rename
_OVERHEAD = 32 << 10  # bytes of JSON headers and small files


@dataclass(frozen=True)
class Product:
    """What a run makes of its model, in each checkpoint and in the run folder.

    A whole model is read back to go on from. Where `adapter` writes files for others, the parameters that are
    trained are kept beside them under the names they have here: those files may round or rearrange them.
    """

    files: tuple[str, ...]
    """Those of the run folder."""
    adapter: Callable[[Transformer, Path], None] | None = None
    """Writes them; None: the whole model is written."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Of a whole model: what generation_config.json says beside the special ids."""


WHOLE_MODEL = Product(MODEL_FILES)


@dataclass(frozen=True)
class Snapshot:
    """A trainer between two updates, whole."""

    model: Transformer
    tensors: dict[str, Tensor]
    """Of the optimiser and the batch source."""
    state: CheckpointState


def take_snapshot(trainer: Trainer, *, threads: int) -> Snapshot:
    """What a checkpoint holds, for the first process to write. Every process has to call this.

    However a model is divided, it is that of one process: a run goes on in any other division.
    It shares the memory of a model that lies in no parts.
    """
    return Snapshot(
        trainer.divided.whole_model(),
        trainer.state_tensors(),
        CheckpointState(
            recipe=asdict(trainer.recipe),
            trainer=trainer.state(),
            threads=threads,
            versions={name: version(name) for name in ("torch", "numpy")},
            division=str(trainer.ranks.degrees),
        ),
    )


def write_snapshot(snapshot: Snapshot, folder: Path, product: Product = WHOLE_MODEL) -> None:
    """Write a snapshot into an empty folder."""
    model = snapshot.model
    if product.adapter is None:
        save_model(model, folder, max_shard_bytes=_ONE_FILE, generation=product.generation)
    else:
        product.adapter(model, folder)
        trained = {name: one.detach().contiguous() for name, one in adapter_parameters(model).items()}
        with system_errors(folder / TRAINED):
            save_file(trained, folder / TRAINED, metadata={"format": "pt"})
    tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}
    with system_errors(folder / OPTIMIZER):
        save_file(tensors, folder / OPTIMIZER, metadata={"format": "pt"})
    write_state(folder, snapshot.state)


def load_weights(
    folder: Path, device: torch.device, rope_scaling: Mapping[str, Any] | None = None
) -> Transformer:
    """A model to train on, float32, in memory of its own: a file that is replaced cannot change it.

    Args:
        folder: of a checkpoint or a model; or a GGUF file.
        device: where to put it.
        rope_scaling: in place of what its config.json says, for longer rows.
    """
    model = load_model(folder, dtype=torch.float32, device=device, rope_scaling=rope_scaling)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def load_trained(model: Transformer, folder: Path) -> None:
    """Put the trained parameters of a checkpoint into a model that has the rest.

    Raises:
        DataError: they are not this model's.
    """
    kept, ours = load_file(folder / TRAINED), adapter_parameters(model)
    if kept.keys() != ours.keys():
        odd = sorted(kept.keys() ^ ours.keys())
        raise DataError(
            f"{folder / TRAINED}: other parameters than those in training ({some_of(odd)})",
            hint=f"remove {folder} to go on from an older one",
        )
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(kept[name])


def restore_trainer(trainer: Trainer, folder: Path, state: CheckpointState) -> None:
    """Put a checkpoint's state into a Trainer that was made with its weights."""
    trainer.restore(state.trainer, load_file(folder / OPTIMIZER))


def checkpoint_bytes(parameters: int, trained: int | None = None, *, adapter: bool = False) -> int:
    """Predicted size of one checkpoint: float32 weights and AdamW's two moments.

    Args:
        parameters: of the model.
        trained: those among them, or beside them, that have moments; None: all.
        adapter: the trained ones alone are written, twice: for others, and to go on from.
    """
    trained = parameters if trained is None else trained
    return 4 * (2 * trained if adapter else parameters) + 8 * trained + _OVERHEAD
