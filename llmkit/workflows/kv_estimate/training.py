"""Memory of training models, on the device that needs most."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import asdict

from llmkit.errors import GateFailed
from llmkit.estimate.config import EstimateConfig
from llmkit.estimate.training import training_memory
from llmkit.estimate.training_settings import TrainingSettings
from llmkit.workflows.kv_estimate.kv_estimate import context_of
from llmkit.workflows.kv_estimate.models import ModelSources, SizedModel, read_models, require_whole


class TrainingEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What one device holds while a model is trained, in bytes."""

    schema: str = "llmkit.kv-estimate.training/1"
    model: str | None
    parameters: int
    trained_parameters: int
    settings: dict[str, Any]
    """Everything that decides the figures."""
    stage: int
    """Of the pipeline, from 0: the one that needs most."""
    weights_bytes: int
    gradients_bytes: int
    master_weights_bytes: int
    optimizer_bytes: int
    gathered_bytes: int
    """Whole for a moment under ZeRO-3."""
    activations_bytes: int
    total_bytes: int
    memory_bytes: int | None
    fits: bool | None


def estimate_training(
    sources: ModelSources, settings: EstimateConfig, training: Mapping[str, Any]
) -> list[TrainingEstimate]:
    """The memory of training each model.

    Args:
        sources: which models.
        settings: context is the length of a row, batch the rows of a micro-batch.
        training: further fields of TrainingSettings.

    Raises:
        ConfigError: as `read_models` and `training_memory`.
        UsageError: flags that give a cache alone.
    """
    return [_estimate(model, settings, training) for model in read_models(sources)]


def check_training_fits(estimates: list[TrainingEstimate]) -> None:
    """Fail where training does not fit the memory of a device.

    Raises:
        GateFailed: names the first model for which it does not.
    """
    for one in estimates:
        if one.fits is False:
            raise GateFailed(
                f"training {one.model or 'the model'} does not fit {one.memory_bytes:,} bytes "
                f"(found {one.total_bytes:,})",
                hint="--zero 3 --data-parallel N, --recompute full, --lora-rank 16, or a smaller --batch",
            )


def _estimate(model: SizedModel, settings: EstimateConfig, training: Mapping[str, Any]) -> TrainingEstimate:
    require_whole(model, "--train")
    chosen = TrainingSettings(
        seq_len=context_of(model, settings),
        micro_batch=settings.batch,
        tensor_parallel=settings.tensor_parallel,
        **training,
    )
    held = training_memory(model.architecture, chosen)
    return TrainingEstimate(
        model=model.name,
        parameters=model.architecture.parameters,
        trained_parameters=held.trained_parameters,
        settings=asdict(chosen),
        stage=held.stage,
        weights_bytes=held.weights,
        gradients_bytes=held.gradients,
        master_weights_bytes=held.master,
        optimizer_bytes=held.optimizer,
        gathered_bytes=held.gathered,
        activations_bytes=held.activations,
        total_bytes=held.total,
        memory_bytes=settings.memory_bytes,
        fits=None if settings.memory_bytes is None else held.total <= settings.memory_bytes,
    )
