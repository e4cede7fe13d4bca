"""Memory of training on one device: weights, gradients, optimiser and activations, however they are split.

Bytes a parameter by precision, with AdamW (weights + gradients + float32 master weights + two moments):

    bf16-master   2 + 4 + 4 + 8 = 18   Megatron-LM; with its distributed optimiser (ZeRO-1) 6 + 12/N
    mixed16       2 + 2 + 4 + 8 = 16   Rajbhandari et al. 2019, arXiv:1910.02054
    fp32          4 + 4     + 8 = 16
    bf16          2 + 2     + 4 =  8
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import ceil

import msgspec

from llmkit.estimate.activations import (
    ActivationSettings,
    embedding_activation_bytes,
    layer_activation_bytes,
    output_activation_bytes,
)
from llmkit.estimate.adapters import adapted_tensors, adapter_values, is_layer_matrix, lora_parameters
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.rank_share import rank_share, require_split
from llmkit.estimate.training_settings import TrainingSettings


class _Bytes(msgspec.Struct, frozen=True):
    """Of one parameter."""

    weight: int
    gradient: int
    master: int
    moment: int


_BYTES = {
    "bf16-master": _Bytes(2, 4, 4, 4),
    "mixed16": _Bytes(2, 2, 4, 4),
    "fp32": _Bytes(4, 4, 0, 4),
    "bf16": _Bytes(2, 2, 0, 2),
}


class TrainingMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on one device of the stage that needs most."""

    stage: int
    """Of the pipeline, from 0."""
    weights: int
    """Frozen ones included."""
    gradients: int
    master: int
    """Float32 weights beside 16-bit ones."""
    optimizer: int
    gathered: int
    """With ZeRO-3, an estimate of what is whole for a moment: embeddings and head, two layers' weights (one
    is fetched while another is used) and one layer's gradients."""
    activations: int
    trained_parameters: int
    """Of the whole model."""

    @property
    def states(self) -> int:
        """What stays from step to step."""
        return self.weights + self.gradients + self.master + self.optimizer

    @property
    def total(self) -> int:
        """All of it; not what the CUDA context, fragmentation and communication take."""
        return self.states + self.gathered + self.activations


def training_memory(architecture: Architecture, settings: TrainingSettings) -> TrainingMemory:
    """Memory of training a model, in bytes on the device that needs most.

    Raises:
        ConfigError: heads or layers cannot be split as asked, or no module is called what lora_modules say.
    """
    require_split(
        "num_attention_heads",
        architecture.num_attention_heads,
        settings.tensor_parallel,
        flag="--tensor-parallel",
    )
    pieces = settings.pipeline_parallel * settings.virtual_stages
    require_split("num_hidden_layers", architecture.num_hidden_layers, pieces, flag="--pipeline-parallel")
    trained = (
        adapted_tensors(architecture, settings.lora_modules)
        if settings.lora_rank
        else frozenset(architecture.tensors)
    )
    stages = range(settings.pipeline_parallel)
    memories = [_stage_memory(architecture, settings, stage, trained) for stage in stages]
    return max(memories, key=lambda memory: memory.total)


def in_flight(settings: TrainingSettings, stage: int) -> Fraction:
    """Micro-batches whose activations a stage keeps at once, counted in whole stages.

    1F1B: one for each stage from this one to the last. Interleaved (Narayanan et al. 2021, arXiv:2104.04473):
    pieces, of which `virtual_stages` make a stage. No more than a step has.
    """
    stages, virtual = settings.pipeline_parallel, settings.virtual_stages
    after = stages - stage - 1
    pieces = after + 1 if virtual == 1 else 2 * after + (virtual - 1) * stages + 1
    if settings.micro_batches is not None:
        pieces = min(pieces, settings.micro_batches * virtual)
    return Fraction(pieces, virtual)


def _stage_memory(
    architecture: Architecture, settings: TrainingSettings, stage: int, trainable: frozenset[TensorSpec]
) -> TrainingMemory:
    tensors = [t for t in architecture.tensors if _stage_of(architecture, settings, t) == stage]
    if architecture.tied_head and 0 < stage == settings.pipeline_parallel - 1:
        # the last stage has a copy of the table that the first one looks up
        tensors += [t for t in architecture.tensors if t.is_tied_head]
    each, N, zero = _BYTES[settings.precision], settings.data_parallel, settings.zero
    own = [tensor for tensor in tensors if tensor in trainable]
    trained = _summed(own, lambda tensor: _trained_values(architecture, settings, tensor))
    moments = _summed(
        own, lambda t: _trained_values(architecture, settings, t) * _moment_bytes(settings, t, each.moment)
    )
    weights = trained * each.weight
    if settings.lora_rank:
        weights += _summed(tensors, lambda tensor: _frozen_bytes(architecture, settings, tensor))
    return TrainingMemory(
        stage=stage,
        weights=ceil(weights / (N if zero >= 3 else 1)),
        gradients=ceil(trained * each.gradient / (N if zero >= 2 else 1)),
        master=ceil(trained * each.master / (N if zero >= 1 else 1)),
        optimizer=ceil(moments / (N if zero >= 1 else 1)),
        gathered=_gathered(architecture, settings, tensors, trainable) if zero == 3 and N > 1 else 0,
        activations=_activations(architecture, settings, stage),
        trained_parameters=(
            lora_parameters(architecture, settings.lora_rank, settings.lora_modules)
            if settings.lora_rank
            else architecture.parameters
        ),
    )


def _activations(architecture: Architecture, settings: TrainingSettings, stage: int) -> int:
    bytes_per_value = 4 if settings.precision == "fp32" else 2
    layers = [
        number
        for number in range(architecture.num_hidden_layers)
        if _stage_of_layer(architecture, settings, number) == stage
    ]

    def of_layer(number: int, each: ActivationSettings) -> int:
        return layer_activation_bytes(architecture, number, each, bytes_per_value=bytes_per_value)

    kept = sum(of_layer(number, settings) for number in layers)
    first = embedding_activation_bytes(architecture, settings) if stage == 0 else 0
    total = ceil((kept + first) * in_flight(settings, stage))
    if settings.recompute == "full":  # one layer at a time is worked out again
        whole = ActivationSettings(
            seq_len=settings.seq_len,
            micro_batch=settings.micro_batch,
            tensor_parallel=settings.tensor_parallel,
            sequence_parallel=settings.sequence_parallel,
            dropout=settings.dropout,
        )
        total += max((of_layer(number, whole) for number in layers), default=0)
    if stage == settings.pipeline_parallel - 1:
        total += output_activation_bytes(architecture, settings, bytes_per_value=bytes_per_value)
    return total


def _gathered(
    architecture: Architecture,
    settings: TrainingSettings,
    tensors: list[TensorSpec],
    trainable: frozenset[TensorSpec],
) -> int:
    each = _BYTES[settings.precision]

    def trained(tensor: TensorSpec) -> Fraction:
        return _trained_values(architecture, settings, tensor) if tensor in trainable else Fraction(0)

    def weights(tensor: TensorSpec) -> Fraction:
        frozen = _frozen_bytes(architecture, settings, tensor) if settings.lora_rank else 0
        return trained(tensor) * each.weight + frozen

    layers: dict[int | None, list[TensorSpec]] = {}
    for tensor in tensors:
        layers.setdefault(tensor.layer, []).append(tensor)
    outside = _summed(layers.pop(None, []), weights)
    forward = sorted(_summed(layer, weights) for layer in layers.values())
    backward = [_summed(layer, trained) * each.gradient for layer in layers.values()]
    return ceil(outside + sum(forward[-2:]) + max(backward, default=0))


def _trained_values(architecture: Architecture, settings: TrainingSettings, tensor: TensorSpec) -> Fraction:
    """Numbers that one tensor-parallel device trains for a tensor: its share, or that of its adapter."""
    if settings.lora_rank:
        return adapter_values(architecture, tensor, settings.lora_rank, ranks=settings.tensor_parallel)
    return tensor.numel * rank_share(architecture, tensor, settings.tensor_parallel)


def _frozen_bytes(architecture: Architecture, settings: TrainingSettings, tensor: TensorSpec) -> Fraction:
    held = Fraction(_BYTES[settings.precision].weight)
    if settings.frozen_bits is not None and is_layer_matrix(tensor):
        held = Fraction(settings.frozen_bits) / 8
    return tensor.numel * rank_share(architecture, tensor, settings.tensor_parallel) * held


def _moment_bytes(settings: TrainingSettings, tensor: TensorSpec, moment: int) -> Fraction:
    if settings.optimizer == "adamw-8bit":
        return 2 * Fraction(256 + 4, 256)
    if settings.optimizer == "adamw" or (settings.optimizer == "muon" and not is_layer_matrix(tensor)):
        return Fraction(2 * moment)
    return Fraction(moment)


def _stage_of(architecture: Architecture, settings: TrainingSettings, tensor: TensorSpec) -> int:
    if tensor.layer is not None:
        return _stage_of_layer(architecture, settings, tensor.layer)
    return settings.pipeline_parallel - 1 if tensor.part in ("norms", "head") else 0


def _stage_of_layer(architecture: Architecture, settings: TrainingSettings, layer: int) -> int:
    pieces = settings.pipeline_parallel * settings.virtual_stages
    return layer // (architecture.num_hidden_layers // pieces) % settings.pipeline_parallel


def _summed(tensors: Iterable[TensorSpec], value: Callable[[TensorSpec], Fraction]) -> Fraction:
    return sum(map(value, tensors), Fraction(0))
