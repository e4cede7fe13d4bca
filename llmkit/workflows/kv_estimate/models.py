"""The models that an estimate is asked for: config.json, a folder, a GGUF file, a preset, or flags alone.

Imports stand where they are needed: a plain config.json waits for none of the others.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llmkit.errors import MissingError, UsageError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.read_architecture import read_architecture
from llmkit.formats.model_folder import CONFIG, INDEX, WEIGHTS, names_dtype, read_config, read_tensors
from llmkit.formats.sentence_modules import MODULES
from llmkit.formats.streams import STDIO
from llmkit.model.quantised.section import quantised_section

if TYPE_CHECKING:
    from llmkit.formats.gguf.header import GgufHeader
    from llmkit.model.config import ModelConfig

_WHOLE_MODEL = (
    *("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"),
)
"""What flags must give of a model whose weights are to be counted."""


class ModelSources(msgspec.Struct, frozen=True, kw_only=True):
    """Which models; with neither paths nor presets, the one whose shape the overrides are."""

    paths: tuple[Path, ...] = ()
    """config.json files, folders that hold one, safetensors files beside one, GGUF files, or stdin."""
    presets: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Fields of ModelConfig, for every model."""


class SizedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model to estimate: all of its shape, or as much of it as its cache needs."""

    name: str | None
    architecture: Architecture
    whole: bool = True
    """Whether its tensors are known, or its cache alone."""
    heads_known: bool = True
    """Whether the number of query heads is."""
    max_positions: int | None = None
    """Where a config or a preset says so."""
    quantised: Mapping[str, Any] | None = None
    """The config.json that says how the weights are quantised, where one does."""
    weights_dir: Path | None = None
    """The folder that holds the weights of just this shape."""
    gguf: "GgufHeader | None" = None
    """Of the file that holds them, or of the first of several with the tensors of all."""


def require_whole(model: SizedModel, flag: str) -> None:
    """Refuse to answer what needs the weights for flags that describe a cache alone.

    Raises:
        UsageError: they do; names the flag that asked.
    """
    if not model.whole:
        raise UsageError(
            f"{flag} needs the weights too, which these flags leave open",
            hint="add --hidden-size, --intermediate-size, --heads and --vocab-size, or name a config.json",
        )


def read_models(sources: ModelSources) -> Iterator[SizedModel]:
    """Each model in turn: paths, then presets; or the one that the overrides describe.

    Raises:
        MissingError: a path does not exist, or one of several GGUF files that are one model.
        DataError: a config.json is no JSON object, or the header of a file is damaged.
        ConfigError: a shape is not supported or not possible: the key is named.
        UsageError: flags that say too little of a model.
    """
    for path in sources.paths:
        if path.suffix == ".gguf":
            yield _of_gguf(path, sources.overrides)
        else:
            yield _of_config(path, sources.overrides)
    for name in sources.presets:
        from llmkit.model.presets import preset

        yield _of_ours(name, preset(name, **sources.overrides))
    if not sources.paths and not sources.presets:
        yield _of_flags(sources.overrides)


def _of_config(path: Path, overrides: Mapping[str, Any]) -> SizedModel:
    if path.suffix == ".safetensors":
        path = path.parent
        if not (path / CONFIG).is_file():
            raise MissingError(
                f"{path / CONFIG}: no such file; a safetensors file does not say what its tensors are for",
                hint="llmkit show FILE.safetensors lists them",
            )
    where = "stdin" if path == STDIO else str(path / CONFIG if path.is_dir() else path)
    config = _read_config(path)
    if overrides:
        from llmkit.model.config import ModelConfig
        from llmkit.model.reshape import reshape

        return _of_ours(_name(path), reshape(ModelConfig.from_hf(config, source=where), overrides))
    weights_dir = path if (path / WEIGHTS).is_file() or (path / INDEX).is_file() else None
    if weights_dir is not None and _is_bare(weights_dir):
        config = config | {"tie_word_embeddings": True}
    architecture = read_architecture(config, where)
    return SizedModel(
        name=_name(path),
        architecture=architecture,
        max_positions=architecture.max_position_embeddings,
        quantised=None if quantised_section(config) is None else config,
        weights_dir=weights_dir,
    )


def _is_bare(folder: Path) -> bool:
    """Whether the weights are without a head, which the shape alone does not tell."""
    if not (folder / MODULES).is_file():
        return False
    from llmkit.model.pooling import is_bare

    return is_bare(folder, read_tensors(folder))


def _read_config(path: Path) -> dict[str, Any]:
    """A config.json; where it names no dtype, with that of the weights beside it, or of what codes leave."""
    config = read_config(path)
    if names_dtype(config):
        return config
    if path.is_dir():
        from llmkit.model.source import read_model_config

        config = read_model_config(path)
    # quantised models have what is beside the codes in 16 bits, and are computed in these
    return config if quantised_section(config) is None else {"dtype": "bfloat16", **config}


def _of_gguf(path: Path, overrides: Mapping[str, Any]) -> SizedModel:
    if overrides:
        raise UsageError(
            f"{path}: flags of a shape do not change a file that has one",
            hint="name the model's config.json instead",
        )
    from llmkit.formats.gguf.parts import joined_header, read_gguf_parts
    from llmkit.model.gguf.config import gguf_config

    header = joined_header(read_gguf_parts(path))
    config = {**gguf_config(header, str(path)), "dtype": "float16"}  # what llama.cpp keeps its cache in
    architecture = read_architecture(config, str(path))
    return SizedModel(
        name=str(path),
        architecture=architecture,
        max_positions=architecture.max_position_embeddings,
        gguf=header,
    )


def _of_ours(name: str | None, config: "ModelConfig") -> SizedModel:
    """A model whose shape llmkit made, or changed."""
    return SizedModel(
        name=name,
        architecture=read_architecture(config.to_hf()),
        max_positions=config.max_position_embeddings,
    )


def _name(path: Path) -> str | None:
    """What a path calls its model: a folder, or a file that is not just config.json."""
    place = path.parent if path.name == CONFIG else path
    return None if place in (STDIO, Path()) else str(place)


def _of_flags(sizes: Mapping[str, Any]) -> SizedModel:
    """A Llama-shaped model where flags give all of it, else the shape of its cache."""
    from llmkit.model.config import ModelConfig

    if all(name in sizes for name in _WHOLE_MODEL):
        architecture = read_architecture(ModelConfig(dtype="bfloat16", **sizes).to_hf())
        return SizedModel(name=None, architecture=architecture)
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
    return SizedModel(
        name=None,
        architecture=_cache_alone(ModelConfig(**{**rest, **sizes})),
        whole=False,
        heads_known="num_attention_heads" in sizes,
    )


def _cache_alone(config: "ModelConfig") -> Architecture:
    """Layers of full attention, and no tensors."""
    layer = LayerCache(
        kind="full",
        kv_heads=config.num_key_value_heads,
        key_dim=config.head_dim,
        value_dim=config.head_dim,
        query_heads=config.num_attention_heads,
        score_dim=config.head_dim,
        mixed_dim=config.head_dim,
    )
    return Architecture(
        model_type="",
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        max_position_embeddings=None,
        tied_head=False,
        dtype="bfloat16",
        tensors=(),
        caches=(layer,) * config.num_hidden_layers,
        mlp_width=0,
    )
