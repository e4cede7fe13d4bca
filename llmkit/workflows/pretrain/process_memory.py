"""What a process of a pretraining run holds at most: its part of the model, and what passes and saves add."""

import torch
from torch import nn

from llmkit.estimate.adapters import is_layer_matrix
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.config import ModelConfig
from llmkit.model.learnt.operations import HAS_KERNELS
from llmkit.model.transformer import Transformer
from llmkit.train.config import PretrainConfig
from llmkit.train.muon import orthogonalising_bytes
from llmkit.train.optimizer import hidden_matrices
from llmkit.train.parallel.own_part import OwnPart, layers_of, own_part, parts_of_batch
from llmkit.train.state import checkpoint_bytes
from llmkit.workflows.run.memory import (
    DISTRIBUTED_BYTES,
    IN_PARTS_BYTES,
    RECOMPUTING_BYTES,
    RUNTIME_BYTES,
    RunMemory,
    activation_bytes,
    attention_scratch_bytes,
    experts_beside_bytes,
    has_experts_alone,
)
from llmkit.workflows.run.setup import Setup

_FLOAT = 4


def run_memory(setup: Setup, config: PretrainConfig, model: ModelConfig) -> RunMemory:
    """Predicted memory of the processes of a run, on the device that they train on."""
    stages = [memory_bytes(setup, config, model, stage) for stage in range(setup.degrees.pp)]
    first, other = stages[0], max(stages)
    if setup.device.type != "cpu":
        return RunMemory(other, other)
    size = checkpoint_file_bytes(setup, model)
    copy = size if config.async_checkpoint else 0
    if not setup.degrees.is_split:
        return RunMemory(first + copy, other)
    held = _runtime_bytes(setup, config) + _state_bytes(setup, model, _own(setup, model), gradients=False)
    return RunMemory(max(first, held + size + copy), other)


def memory_bytes(setup: Setup, config: PretrainConfig, model: ModelConfig, stage: int = 0) -> int:
    """Predicted memory of a process in training: within 10 % for models of 1M to 40M parameters on a CPU.

    Weights and AdamW's moments take 12 bytes a parameter, gradients 4; they come while what the forward pass
    kept goes, but that is seldom given back: only where a process has all experts, see `has_experts_alone`.
    Muon has one moment of a matrix, and works on a stack of them at once. Updates whose norms are logged
    hold the weights twice.

    A process of several holds its part of these, and had the whole model before it was cut. Gradients travel
    as copies, and weights in shards (--fsdp) are whole for a while.
    """
    own = _own(setup, model, stage)
    held = _state_bytes(setup, model, own, watches=config.log_norms > 0)
    passing = _travelling_bytes(setup, own) + _activation_bytes(setup, config, model, stage)
    if has_experts_alone(model, setup.degrees) and setup.micro_batch_rows >= setup.recipe.batch_rows:
        held = max(held, held - _FLOAT * own.kept + passing)  # of several passes they are there in the second
    else:
        held += passing
    if setup.degrees.is_split:
        held = max(held, _FLOAT * architecture_of(model).parameters)
    return (
        _runtime_bytes(setup, config) + held + _muon_bytes(setup, model, stage) + _beside_bytes(setup, model)
    )


def _beside_bytes(setup: Setup, model: ModelConfig) -> int:
    """What products of experts take beside, where they cost more than their weights and rows."""
    on_cpu = setup.device.type == "cpu" and setup.recipe.dtype == "bfloat16"
    if not on_cpu or model.experts is None or not has_experts_alone(model, setup.degrees):
        return 0
    parameters = architecture_of(model).parameters
    return experts_beside_bytes(model.experts, parameters, setup.micro_batch_rows * setup.recipe.seq_len)


def checkpoint_file_bytes(setup: Setup, model: ModelConfig) -> int:
    """Predicted size of a checkpoint."""
    return checkpoint_bytes(architecture_of(model).parameters) - _FLOAT * _muon_values(setup, model)


def _own(setup: Setup, model: ModelConfig, stage: int = 0) -> OwnPart:
    return own_part(architecture_of(model), setup.degrees, stage)


def _runtime_bytes(setup: Setup, config: PretrainConfig) -> int:
    kind, degrees = setup.device.type, setup.degrees
    found = RUNTIME_BYTES[kind]
    if degrees.world > 1:
        found += DISTRIBUTED_BYTES[kind]
    if degrees.is_split:
        found += IN_PARTS_BYTES[kind]
    elif config.recomputes:
        found += RECOMPUTING_BYTES[kind]
    return found


def _state_bytes(
    setup: Setup, model: ModelConfig, own: OwnPart, *, gradients: bool = True, watches: bool = False
) -> int:
    each = _FLOAT * (3 + gradients + watches)
    whole = architecture_of(model).parameters
    return each * own.kept - _FLOAT * _muon_values(setup, model) * own.kept // whole


def _travelling_bytes(setup: Setup, own: OwnPart) -> int:
    """Copies of gradients that are summed, and what is gathered of shards, with its gradients."""
    degrees = setup.degrees
    if degrees.fsdp > 1:
        apart = own.uncut // degrees.shards + own.experts // degrees.expert_shards if degrees.tp > 1 else 0
        return _FLOAT * (4 * own.ends + 6 * own.largest_layer + apart)
    if degrees.shares * degrees.cp > 1:
        return _FLOAT * own.all
    return _FLOAT * (own.uncut + own.experts) if degrees.tp > 1 else 0


def _activation_bytes(setup: Setup, config: PretrainConfig, model: ModelConfig, stage: int) -> int:
    """What the passes keep at a stage; of a pipeline, the first stages have parts of the batch under way."""
    degrees, recipe = setup.degrees, setup.recipe
    rows, under_way = setup.micro_batch_rows, 1
    if degrees.pp > 1:
        share = recipe.batch_rows // degrees.shares
        parts = parts_of_batch(share, setup.micro_batch_rows, degrees.pp)
        ahead = max(2, degrees.pp - stage)  # at the last stage one comes in while one is learnt: measured
        rows, under_way = share // parts, min(parts, ahead)
    at_work = _mask_bytes(setup, rows) + _attention_bytes(setup, model, rows)
    return at_work + activation_bytes(
        model,
        rows * recipe.seq_len // degrees.cp,
        recipe.dtype,
        recomputing=config.activation_checkpointing,
        degrees=degrees,
        stage=stage,
        under_way=under_way,
        native=HAS_KERNELS and setup.device.type == "cpu",
        wide_logits=recipe.z_loss is not None,
    )


def _attention_bytes(setup: Setup, model: ModelConfig, rows: int) -> int:
    if setup.device.type != "cpu":
        return 0
    length, dtype = setup.recipe.seq_len, setup.recipe.dtype
    return attention_scratch_bytes(model, rows, length, dtype, threads=setup.threads, degrees=setup.degrees)


def _mask_bytes(setup: Setup, rows: int) -> int:
    """Where rows are cut, what their positions see up to the end of their piece: as bool and as float32.

    Each row has a mask of its own where it may have several documents.
    """
    cp, seq_len = setup.degrees.cp, setup.recipe.seq_len
    if cp == 1:
        return 0
    masks = rows if setup.recipe.document_mask else 1
    return masks * (1 + _FLOAT) * seq_len // cp * seq_len * (2 * cp + 1) // (4 * cp)


def _muon_bytes(setup: Setup, model: ModelConfig, stage: int) -> int:
    """What Muon's update of a stage takes on a CPU; a GPU has what the passes kept for it."""
    if setup.recipe.optimizer == "adamw" or setup.device.type != "cpu":
        return 0
    with torch.device("meta"):
        layers = Transformer(model).model.layers
    own = nn.ModuleList(layers[number] for number in layers_of(stage, setup.degrees.pp, len(layers)))
    return orthogonalising_bytes(tuple(one.shape) for one in hidden_matrices(own))


def _muon_values(setup: Setup, model: ModelConfig) -> int:
    """Parameters with one moment, not two."""
    if setup.recipe.optimizer == "adamw":
        return 0
    return sum(one.numel for one in architecture_of(model).tensors if is_layer_matrix(one) and one.learnt)
