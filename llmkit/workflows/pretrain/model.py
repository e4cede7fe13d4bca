"""Which model a run trains: a preset, a config.json, or a model whose weights it continues from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import digest_files
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import CONFIG, INDEX, WEIGHTS, read_config
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.reshape import field_of, reshape
from llmkit.model.source import model_files
from llmkit.model.stretched import read_stretched
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe, default_initializer_range
from llmkit.train.state import load_weights
from llmkit.train.width_scaling import scale_fresh
from llmkit.workflows.pretrain.data import PretrainData

_FREE_WITH_WEIGHTS = ("max_position_embeddings", "rope_theta")
"""What may be changed in a model that keeps its weights, where its positions are rotary."""


@dataclass(frozen=True)
class ModelSource:
    """The shape to train, and the folder or GGUF file its weights come from; None: they are drawn."""

    config: ModelConfig
    weights: Path | None
    weights_sha256: str | None
    rope_scaling: Mapping[str, Any] | None = None
    """What was put in place of the weights' own, for longer rows."""
    mup_base_width: int | None = None
    """Fresh weights are drawn for this width's learning rate; None: for their own."""


def choose_model(
    name: str,
    folder: Path | None,
    overrides: Mapping[str, Any],
    data: PretrainData,
    ids: Mapping[str, int | None],
    rope_scaling: str | None = None,
) -> ModelSource:
    """The model for some data.

    Args:
        name: a preset, used where there is no folder.
        folder: a model folder, a GGUF file, or a config.json (or its folder, without weights) for a shape.
        overrides: fields of ModelConfig, or of its experts, that were given as flags.
        data: its vocabulary is the model's, and its row length the default of max_position_embeddings.
        ids: special ids of the tokenizer.
        rope_scaling: in place of the weights' own, as `--rope-scaling` has it.

    Raises:
        ConfigError: no such preset, or the result is no possible model.
        UsageError: a flag would change the shape of weights that are to be kept, or a fresh model is to be
            stretched.
        DataError: the data has ids that the model has no embedding for.
    """
    if folder is not None and has_weights(folder):
        return _continued(folder, overrides, data, rope_scaling)
    if rope_scaling is not None:
        raise UsageError(
            f"--rope-scaling {rope_scaling} stretches a model that was trained, and this one is fresh",
            hint="--model FOLDER with its weights; a fresh one has --max-position-embeddings",
        )
    fitted = {
        "vocab_size": data.vocab_size,
        "max_position_embeddings": data.seq_len,
        "dtype": "float32",
        **ids,
    }
    if folder is None:
        config = preset(name, **{**fitted, **overrides})
    else:
        base = ModelConfig.from_hf(read_config(folder), source=str(folder))
        config = reshape(base, {**fitted, **overrides})
    if "initializer_range" not in overrides:
        config = replace(config, initializer_range=default_initializer_range(config.hidden_size))
    _check_vocabulary(config, data, "the model")
    return ModelSource(config, None, None)


def with_router_losses(source: ModelSource, recipe: Recipe) -> ModelSource:
    """The same, with a shape that says what the routers' losses weigh in this run, which transformers and a
    later run read in config.json. The recipe keeps what it was before: settings are compared there.
    """
    experts = source.config.sparse
    if experts is None:
        return source
    experts = replace(
        experts,
        router_aux_loss_coef=recipe.router_aux_loss_coef or 0.0,
        router_z_loss_coef=recipe.router_z_loss_coef or 0.0,
    )
    return replace(source, config=replace(source.config, experts=experts))


def build_model(source: ModelSource, seed: int, device: torch.device) -> Transformer:
    """The model at the beginning of a run, float32."""
    if source.weights is not None:
        kept = load_weights(source.weights, device)
        with torch.device("meta"):
            model = Transformer(source.config)  # its positions may be others than those of the folder
        model.load_state_dict(kept.state_dict(), assign=True)
        return model
    model = Transformer(source.config)
    initialise(model, torch.Generator().manual_seed(seed))
    if source.mup_base_width is not None:
        scale_fresh(model, source.mup_base_width)
    return model.to(device)


def _continued(
    folder: Path, overrides: Mapping[str, Any], data: PretrainData, rope_scaling: str | None
) -> ModelSource:
    config, scaling = read_stretched(folder, rope_scaling)
    for key, value in overrides.items():
        free = key in _FREE_WITH_WEIGHTS and config.position == "rope"
        if not free and value != field_of(config, key):
            raise UsageError(
                f"--{key.replace('_', '-')} {value} would change the weights of {folder} "
                f"(found {field_of(config, key)})",
                hint=f"leave it out, or train a fresh model of that shape: --model {_config_file(folder)}",
            )
    _check_vocabulary(config, data, str(folder))
    files = [file for file in model_files(folder) if file.name != CONFIG]
    digest = digest_files(files)
    kept = {key: value for key, value in overrides.items() if key in _FREE_WITH_WEIGHTS}
    return ModelSource(replace(config, dtype="float32", **kept), folder, digest, scaling)


def _config_file(model: Path) -> Path:
    """Where the shape stands alone; a GGUF file has no such place."""
    return model / CONFIG if model.is_dir() else Path(CONFIG)


def _check_vocabulary(config: ModelConfig, data: PretrainData, where: str) -> None:
    if config.vocab_size < data.vocab_size:
        raise DataError(
            f"{where}: a vocabulary of {config.vocab_size}, but the data has {data.vocab_size} ids",
            hint="use the tokenizer that the model was trained with, or a model of the data's vocabulary",
        )


def has_weights(folder: Path) -> bool:
    """Whether `--model` names a model to train on, and not only a shape."""
    return is_gguf(folder) or (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()
