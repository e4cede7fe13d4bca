"""Memory of models in use: weights, KV cache, activations, and whether they fit."""

from collections import Counter
from typing import Literal, NamedTuple

from msgspec.structs import replace

from llmkit.errors import ConfigError, GateFailed
from llmkit.estimate.cache import cache_bytes, largest_batch, largest_context
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.config import UNKNOWN_CONTEXT, EstimateConfig
from llmkit.estimate.dtypes import FLOATS, WEIGHT_DTYPES
from llmkit.estimate.stored import NumbersAlone, Scheme
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.workflows.kv_estimate.models import ModelSources, SizedModel, read_models, require_whole
from llmkit.workflows.kv_estimate.report import Attention, KVEstimate


def estimate_models(sources: ModelSources, settings: EstimateConfig) -> list[KVEstimate]:
    """The memory of each model; see `estimate` and `read_models` for what is raised."""
    return [estimate(model, settings) for model in read_models(sources)]


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


def estimate(model: SizedModel, settings: EstimateConfig) -> KVEstimate:
    """The memory of one model.

    Raises:
        DataError: the header of a file of weights is damaged.
        ConfigError: a dtype cannot hold this model, heads cannot be split as asked, or a shared prefix is
            longer than the text.
        UsageError: memory or activations are asked for, and the weights are not known.
    """
    shape, batch = model.architecture, settings.batch
    context = context_of(model, settings)
    _require_possible(model, settings, context)
    cache = cache_settings(model, settings)
    held = cache_bytes(shape, cache, context=context, batch=batch)
    result = KVEstimate(
        model=model.name,
        model_type=shape.model_type or None,
        attention=_attention(model),
        num_hidden_layers=shape.num_hidden_layers,
        layers_by_cache=dict(Counter(layer.kind for layer in shape.caches)),
        num_attention_heads=shape.num_attention_heads if model.heads_known else None,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=model.max_positions,
        context=context,
        batch=batch,
        tensor_parallel=settings.tensor_parallel,
        kv_dtype=cache.kv_dtype,
        kv_bytes_per_token=held.per_token,
        kv_bytes_per_sequence=held.per_sequence,
        kv_state_bytes_per_sequence=held.state,
        kv_bytes=held.total,
    )
    if settings.memory_bytes is not None:
        require_whole(model, "--memory")
    if settings.prefill_chunk is not None:
        require_whole(model, "--prefill-chunk")
    if model.whole:
        result = _with_weights(result, model, settings)
    if settings.memory_bytes is None:
        return result
    result = replace(result, memory_bytes=settings.memory_bytes)
    room = result.room_bytes
    return replace(
        result,
        fits=result.kv_bytes <= room,
        largest_batch=largest_batch(shape, cache, room, context=context),
        largest_context=largest_context(shape, cache, room, batch=batch),
    )


def context_of(model: SizedModel, settings: EstimateConfig) -> int:
    """Tokens of a sequence: as asked for, as the model has, or a common number."""
    return settings.context or model.max_positions or UNKNOWN_CONTEXT


def cache_settings(model: SizedModel, settings: EstimateConfig) -> CacheSettings:
    """How the cache is kept: in what is asked for, or else in the floats that the model computes in."""
    own = model.architecture.dtype.removeprefix("torch.")
    computed_in = next((dtype for dtype in (settings.dtype, own) if dtype in FLOATS), "bfloat16")
    return CacheSettings(
        kv_dtype=settings.kv_dtype or computed_in,
        block_size=settings.block_size,
        tensor_parallel=settings.tensor_parallel,
        shared_prefix=settings.shared_prefix,
        window_is_full=not settings.window,
    )


def scheme_of(model: SizedModel, settings: EstimateConfig) -> Scheme:
    """How the weights are stored: as asked for, as the config says, or in the dtype that it names.

    Raises:
        ConfigError: the config names a dtype that is not known.
    """
    if settings.dtype is not None:
        return _named(settings.dtype)
    if model.quantised is not None:
        from llmkit.estimate.quantised import scheme_of_config  # what a plain config need not wait for

        scheme = scheme_of_config(model.quantised)
        if scheme is not None:
            return scheme
    name = model.architecture.dtype.removeprefix("torch.")
    if name not in WEIGHT_DTYPES:
        raise ConfigError(
            f"dtype {model.architecture.dtype!r} of the config is not known "
            f"(known: {', '.join(WEIGHT_DTYPES)})",
            hint="say how the weights are stored: --dtype bfloat16",
        )
    return NumbersAlone(name)


def _named(name: str) -> Scheme:
    if name in WEIGHT_DTYPES:
        return NumbersAlone(name)
    from llmkit.estimate.scheme_names import parse_scheme  # all formats: loaded when one is asked for

    return parse_scheme(name)


def _require_possible(model: SizedModel, settings: EstimateConfig, context: int) -> None:
    """Refuse what no engine does: heads cut unequally, or a prefix beyond the text."""
    shape, ranks = model.architecture, settings.tensor_parallel
    if ranks > 1:
        from llmkit.estimate.rank_share import require_split

        few, many = sorted((shape.num_key_value_heads, ranks))
        if model.heads_known:
            require_split("num_attention_heads", shape.num_attention_heads, ranks, flag="--tensor-parallel")
        if few and many % few:
            raise ConfigError(
                f"{shape.num_key_value_heads} key/value heads cannot be split over {ranks} devices, "
                "nor copied to as many each",
                hint="change --tensor-parallel",
            )
    if settings.shared_prefix > context:
        raise ConfigError(
            f"a shared prefix of {settings.shared_prefix:,} tokens is longer than the context of {context:,}",
            hint="change --shared-prefix or --context",
        )


def activation_bytes(model: SizedModel, settings: EstimateConfig, context: int) -> int | None:
    """What a chunk of a prompt needs beside weights and cache; None where it is not asked for."""
    if settings.prefill_chunk is None:
        return None
    from llmkit.estimate.activations import prefill_activation_bytes

    chunk = min(settings.prefill_chunk, context)
    return prefill_activation_bytes(model.architecture, chunk_tokens=chunk, sampled_rows=settings.batch)


def _with_weights(result: KVEstimate, model: SizedModel, settings: EstimateConfig) -> KVEstimate:
    shape, weights = model.architecture, _weights(model, settings)
    activations = activation_bytes(model, settings, result.context)
    return replace(
        result,
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        parameters_by_part={str(part): count for part, count in shape.by_part.items()},
        dtype=weights.dtype,
        weights_bytes=weights.on_a_device,
        weights_bytes_by_format=weights.by_format,
        bits_per_weight=8 * weights.nbytes / shape.parameters,
        weights_source=weights.source,
        activations_bytes=activations,
        total_bytes=weights.on_a_device + result.kv_bytes + (activations or 0),
    )


class _Weights(NamedTuple):
    """A model's weights, read off its files or predicted."""

    nbytes: int
    """Of the whole model."""
    on_a_device: int
    dtype: str
    by_format: dict[str, int] | None
    source: Literal["config", "files"]


def _weights(model: SizedModel, settings: EstimateConfig) -> _Weights:
    """The files' own, unless another dtype is asked for or devices share them."""
    shape, ranks = model.architecture, settings.tensor_parallel
    as_stored = settings.dtype is None and ranks == 1
    if model.gguf is not None and as_stored:
        formats = Counter[str]()
        for tensor in model.gguf.tensors:
            formats[tensor.type] += tensor.nbytes
        by_format = dict(formats.most_common())
        return _Weights(formats.total(), formats.total(), "+".join(by_format), by_format, "files")
    if model.weights_dir is not None and as_stored:
        from llmkit.estimate.file_weights import file_weights
        from llmkit.formats.model_folder import read_tensors

        stored = file_weights(read_tensors(model.weights_dir).values())
        return _Weights(stored.nbytes, stored.nbytes, stored.dtype, None, "files")
    scheme = scheme_of(model, settings)
    predicted = weight_bytes(shape, scheme)
    if ranks == 1:
        return _Weights(predicted.nbytes, predicted.nbytes, scheme.name, predicted.formats, "config")
    from llmkit.estimate.rank_share import rank_weight_bytes

    held = rank_weight_bytes(shape, predicted, ranks)
    return _Weights(predicted.nbytes, held, scheme.name, None, "config")


def _attention(model: SizedModel) -> Attention | None:
    shape = model.architecture
    if not model.heads_known:
        return None
    kinds = {layer.kind for layer in shape.caches}
    if "latent" in kinds:
        return "latent"
    if not kinds - {"state"}:
        return "none"
    heads, groups = shape.num_attention_heads, shape.num_key_value_heads
    return "multi-head" if groups == heads else "multi-query" if groups == 1 else "grouped-query"


def _what_fits(result: KVEstimate) -> str:
    """The flags that would make a model fit."""
    ways = [
        f"--{name} {value} fits"
        for name, value in (("batch", result.largest_batch), ("context", result.largest_context))
        if value
    ]
    if ways:
        return ", or ".join(ways)
    if result.room_bytes >= result.kv_bytes_per_token + result.kv_state_bytes_per_sequence:
        return "both a smaller --batch and a shorter --context"
    return "its weights leave no room: a narrower --dtype, a smaller model, or more memory"
