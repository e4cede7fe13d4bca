"""A Trainer to and from a checkpoint folder, so that a resumed run goes on bit for bit."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from llmkit.formats.checkpoint import OPTIMIZER, CheckpointState, write_state
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from llmkit.train.trainer import Trainer

MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors")
"""The files of a checkpoint that make the run folder a model folder."""
_ONE_FILE = 1 << 62  # bytes: weights in one file can be replaced in one rename
_OVERHEAD = 32 << 10  # bytes of JSON headers and small files


def save_trainer(trainer: Trainer, folder: Path, *, threads: int) -> None:
    """Write the model folder, optimizer.safetensors and state.json into an empty folder."""
    save_model(trainer.model, folder, max_shard_bytes=_ONE_FILE)
    tensors = {name: tensor.contiguous() for name, tensor in trainer.state_tensors().items()}
    save_file(tensors, folder / OPTIMIZER, metadata={"format": "pt"})
    state = CheckpointState(
        recipe=asdict(trainer.recipe),
        trainer=trainer.state(),
        random={"torch": torch.get_rng_state().numpy().tobytes()},
        threads=threads,
        versions={name: version(name) for name in ("torch", "numpy")},
    )
    write_state(folder, state)


def load_weights(folder: Path, device: torch.device) -> Transformer:
    """The model of a checkpoint, float32, in memory of its own: a file that is replaced cannot change it."""
    model = load_model(folder, dtype=torch.float32, device=device)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def restore_trainer(trainer: Trainer, folder: Path, state: CheckpointState) -> None:
    """Put a checkpoint's state into a Trainer that was made with its weights."""
    trainer.restore(state.trainer, load_file(folder / OPTIMIZER))
    torch.set_rng_state(torch.frombuffer(bytearray(state.random["torch"]), dtype=torch.uint8))


def checkpoint_bytes(parameters: int) -> int:
    """Predicted size of one checkpoint: float32 weights and AdamW's two moments."""
    return 12 * parameters + _OVERHEAD
