"""The models that an estimate is asked for: from config.json, a folder, a preset, or flags alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.estimate.kv import KVShape
from llmkit.formats.model_folder import CONFIG, INDEX, WEIGHTS, read_config
from llmkit.formats.streams import STDIO
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.model.reshape import reshape

_WHOLE_MODEL = (
    *("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"),
)
"""What flags must give of a model whose weights are to be counted."""


@dataclass(frozen=True, kw_only=True)
class ModelSources:
    """Which models; with neither paths nor presets, the one whose shape the overrides are."""

    paths: tuple[Path, ...] = ()
    """config.json files, folders that hold one, or stdin."""
    presets: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig, for every model."""


@dataclass(frozen=True, kw_only=True)
class SizedModel:
    """A model to estimate: all of its shape, or as much of it as its cache needs."""

    name: str | None
    config: ModelConfig | None
    kv_shape: ModelConfig | KVShape
    num_attention_heads: int | None
    max_positions: int | None
    """Where a config or a preset says so."""
    weights_dir: Path | None = None
    """The folder that holds the weights of just this shape."""


def read_models(sources: ModelSources) -> Iterator[SizedModel]:
    """Each model in turn: paths, then presets; or the one that the overrides describe.

    Raises:
        MissingError: a path does not exist.
        DataError: a config.json is no JSON object.
        ConfigError: a shape is not supported or not possible: the key is named.
        UsageError: flags that say too little of a model.
    """
    for path in sources.paths:
        where = "stdin" if path == STDIO else str(path / CONFIG if path.is_dir() else path)
        config = ModelConfig.from_hf(read_config(path), source=where)
        own = not sources.overrides and _has_weights(path)
        yield _whole(_name(path), reshape(config, sources.overrides), path if own else None)
    for name in sources.presets:
        yield _whole(name, preset(name, **sources.overrides))
    if not sources.paths and not sources.presets:
        yield _of_flags(sources.overrides)


def _whole(name: str | None, config: ModelConfig, weights_dir: Path | None = None) -> SizedModel:
    return SizedModel(
        name=name,
        config=config,
        kv_shape=config,
        num_attention_heads=config.num_attention_heads,
        max_positions=config.max_position_embeddings,
        weights_dir=weights_dir,
    )


def _name(path: Path) -> str | None:
    """What a path calls its model: a folder, or a file that is not just config.json."""
    place = path.parent if path.name == CONFIG else path
    return None if place in (STDIO, Path()) else str(place)


def _has_weights(path: Path) -> bool:
    return (path / WEIGHTS).is_file() or (path / INDEX).is_file()


def _of_flags(sizes: Mapping[str, Any]) -> SizedModel:
    """A Llama-shaped model where flags give all of it, else the shape of its cache."""
    if all(name in sizes for name in _WHOLE_MODEL):
        return replace(_whole(None, ModelConfig(dtype="bfloat16", **sizes)), max_positions=None)
    heads = sizes.get("num_attention_heads", sizes.get("num_key_value_heads"))
    width = sizes.get("head_dim") or sizes.get("hidden_size")
    derived = {"num_attention_heads", "hidden_size"} <= sizes.keys()
    missing = [
        *(["--num-hidden-layers"] if "num_hidden_layers" not in sizes else []),
        *(["--num-key-value-heads"] if heads is None else []),
        *(["--head-dim"] if "head_dim" not in sizes and not derived else []),
    ]
    if heads is None or width is None or missing:
        raise UsageError(
            f"flags alone make no model without {', '.join(missing)}",
            hint="llmkit kv-estimate --layers 32 --kv-heads 8 --head-dim 128, or name a config.json",
        )
    # stand-ins for what the cache does not depend on, so that one place checks every shape
    rest = {
        "num_attention_heads": heads,
        "hidden_size": heads * width,
        "intermediate_size": 1,
        "vocab_size": 1,
    }
    config = ModelConfig(**{**rest, **sizes})
    return SizedModel(
        name=None,
        config=None,
        kv_shape=KVShape(
            num_hidden_layers=config.num_hidden_layers,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
        ),
        num_attention_heads=sizes.get("num_attention_heads"),
        max_positions=None,
    )
