"""Memory of models in use: weights, KV cache, and whether both fit."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from llmkit.errors import ConfigError, GateFailed, UsageError
from llmkit.estimate.config import UNKNOWN_CONTEXT, EstimateConfig
from llmkit.estimate.dtypes import FLOATS, WEIGHT_DTYPES
from llmkit.estimate.fit import largest
from llmkit.estimate.kv import kv_bytes_per_value, kv_cache_bytes
from llmkit.estimate.parameters import count_parameters
from llmkit.estimate.weights import predict_weights, stored_weights
from llmkit.formats.model_folder import read_tensors
from llmkit.model.config import ModelConfig
from llmkit.workflows.kv_estimate_models import ModelSources, SizedModel, read_models


class KVEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of one model in use. Null is what is not known, or was not asked for."""

    schema: str = "llmkit.kv-estimate/1"
    model: str | None
    """The folder, file or preset; null for flags, stdin, and a config.json named without a folder."""
    model_type: str | None = None
    attention: Literal["multi-head", "grouped-query", "multi-query"] | None = None
    num_hidden_layers: int
    num_attention_heads: int | None = None
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int | None = None
    parameters: int | None = None
    parameters_by_part: dict[str, int] | None = None
    dtype: str | None = None
    """Of the weights."""
    weights_bytes: int | None = None
    weights_source: Literal["config", "files"] | None = None
    """Predicted from the shape, or read off the headers of the safetensors files."""
    context: int
    batch: int
    kv_dtype: str
    kv_bytes_per_token: int
    kv_bytes_per_sequence: int
    kv_bytes: int
    total_bytes: int | None = None
    memory_bytes: int | None = None
    fits: bool | None = None
    largest_batch: int | None = None
    """Sequences of this context that memory_bytes holds."""
    largest_context: int | None = None
    """Tokens of each of this many sequences that memory_bytes holds; the model may have fewer positions."""


def estimate_models(sources: ModelSources, settings: EstimateConfig) -> list[KVEstimate]:
    """The memory of each model.

    Raises:
        MissingError: a path does not exist.
        DataError: a config.json is no JSON object, or a safetensors header is damaged.
        ConfigError: a shape or a dtype is not supported or not possible: it is named.
        UsageError: flags that say too little, of a model or of weights that are to fit.
    """
    return [_estimate(model, settings) for model in read_models(sources)]


def check_fit(estimates: list[KVEstimate]) -> None:
    """Fail where a model does not fit the memory it was given.

    Raises:
        GateFailed: names the first that does not, and what would.
    """
    over = [one for one in estimates if one.fits is False]
    if over:
        first, rest = over[0], f"; {len(over)} of {len(estimates)} do not" if len(estimates) > 1 else ""
        raise GateFailed(
            f"{first.model or 'the model'}: does not fit {first.memory_bytes:,} bytes "
            f"(found {first.total_bytes:,}{rest})",
            hint=_what_fits(first),
        )


def _estimate(model: SizedModel, settings: EstimateConfig) -> KVEstimate:
    config, shape, batch = model.config, model.kv_shape, settings.batch
    context = settings.context or model.max_positions or UNKNOWN_CONTEXT
    kv_dtype = settings.kv_dtype or _compute_dtype(config, settings)
    kv_bytes = partial(kv_cache_bytes, shape, bytes_per_value=kv_bytes_per_value(kv_dtype, shape.head_dim))
    estimate = KVEstimate(
        model=model.name,
        attention=_attention(model),
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=model.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=model.max_positions,
        context=context,
        batch=batch,
        kv_dtype=kv_dtype,
        kv_bytes_per_token=kv_bytes(batch=1, context=1),
        kv_bytes_per_sequence=kv_bytes(batch=1, context=context),
        kv_bytes=kv_bytes(batch=batch, context=context),
    )
    if config is not None:
        estimate = _with_weights(estimate, config, model.weights_dir, settings.dtype)
    if settings.memory_bytes is None:
        return estimate
    if estimate.weights_bytes is None:
        raise UsageError(
            "--memory needs the weights too, which these flags leave open",
            hint="add --hidden-size, --intermediate-size, --heads and --vocab-size, or name a config.json",
        )
    room = settings.memory_bytes - estimate.weights_bytes
    return replace(
        estimate,
        memory_bytes=settings.memory_bytes,
        fits=estimate.kv_bytes <= room,
        largest_batch=largest(lambda many: kv_bytes(batch=many, context=context) <= room),
        largest_context=largest(lambda long: kv_bytes(batch=batch, context=long) <= room),
    )


def _with_weights(
    estimate: KVEstimate, config: ModelConfig, weights_dir: Path | None, dtype: str | None
) -> KVEstimate:
    """The estimate with the model's weights: the files' own, unless another dtype is asked for."""
    if weights_dir is not None and dtype is None:
        weights, source = stored_weights(read_tensors(weights_dir).values()), "files"
    else:
        weights, source = predict_weights(config, dtype or _own_dtype(config)), "config"
    parameters = count_parameters(config)
    return replace(
        estimate,
        model_type=config.model_type,
        parameters=parameters.total,
        parameters_by_part=asdict(parameters),
        dtype=weights.dtype,
        weights_bytes=weights.nbytes,
        weights_source=source,
        total_bytes=weights.nbytes + estimate.kv_bytes,
    )


def _own_dtype(config: ModelConfig) -> str:
    """The dtype that a config names for its weights."""
    name = config.dtype.removeprefix("torch.")
    if name not in WEIGHT_DTYPES:
        raise ConfigError(
            f"dtype {config.dtype!r} of the config is not known (known: {', '.join(WEIGHT_DTYPES)})",
            hint="say how the weights are stored: --dtype bfloat16",
        )
    return name


def _compute_dtype(config: ModelConfig | None, settings: EstimateConfig) -> str:
    """What the cache is kept in where nothing else is said: the floats that the model computes in."""
    own = config.dtype.removeprefix("torch.") if config else None
    return next((dtype for dtype in (settings.dtype, own) if dtype in FLOATS), "bfloat16")


def _attention(model: SizedModel) -> Literal["multi-head", "grouped-query", "multi-query"] | None:
    heads, groups = model.num_attention_heads, model.kv_shape.num_key_value_heads
    if heads is None:
        return None
    return "multi-head" if groups == heads else "multi-query" if groups == 1 else "grouped-query"


def _what_fits(estimate: KVEstimate) -> str:
    """The flags that would make a model fit."""
    ways = [
        f"--{name} {value} fits"
        for name, value in (("batch", estimate.largest_batch), ("context", estimate.largest_context))
        if value
    ]
    if ways:
        return ", or ".join(ways)
    if (estimate.memory_bytes or 0) >= (estimate.weights_bytes or 0) + estimate.kv_bytes_per_token:
        return "both a smaller --batch and a shorter --context"
    return "its weights leave no room: a narrower --dtype, a smaller model, or more memory"
