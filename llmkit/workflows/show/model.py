"""What a model is, from its folder, a GGUF or safetensors file, or a config.json: only headers are read."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import ConfigError
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.formats.model_folder import (
    CONFIG,
    CONFIG_DTYPES,
    DTYPE_BITS,
    Header,
    TensorInfo,
    read_config,
    read_header,
)
from llmkit.formats.provenance import read_provenance
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.section import quantised_section
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_model_config, read_plain_tensors
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.artefact import holds_tokenizer

SHAPE_KEYS = {
    **{"num_hidden_layers": ("n_layer",), "hidden_size": ("n_embd",), "intermediate_size": ("n_inner",)},
    **{"num_attention_heads": ("n_head",), "num_key_value_heads": (), "head_dim": ()},
    **{"vocab_size": (), "max_position_embeddings": ("n_positions", "n_ctx"), "hidden_act": ()},
    **{"rope_theta": (), "rope_scaling": (), "tie_word_embeddings": ()},
}
"""The keys of config.json that give a model its shape, and what older families call them."""

PARTS = ("embedding", "positions", "attention", "convolution", "mlp", "experts", "norm", "head", "other")
_PATTERNS = (  # the first pattern that matches a tensor's name decides
    (
        "embedding",
        re.compile(
            r"(embed_tokens(_per_layer)?|wte|word_embeddings|embed_in|token_embd)\.|(^|\.)embeddings?\."
        ),
    ),
    ("positions", re.compile(r"(wpe|embed_positions|position_embeddings|position_embd)\.|^rope_")),
    ("head", re.compile(r"(^|\.)(lm_head|embed_out|output)\.(weight|bias)$")),
    ("norm", re.compile(r"norm|(^|\.)ln_\w+\.|layernorm", re.I)),
    ("mlp", re.compile(r"\.mixer\.(up|down)_proj\.")),
    ("attention", re.compile(r"attn|attention|\.mamba\.|\.mixer\.|\.ssm_")),
    ("convolution", re.compile(r"\.(short)?conv\.")),
    (
        "experts",
        re.compile(r"experts?\.|_sparse_moe\.|\.gate\.weight|router|_(sh)?exps?\.|ffn_gate_inp|exp_probs"),
    ),
    ("mlp", re.compile(r"mlp|feed_forward|ffn")),
)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of weights of a model."""

    name: str
    tensors: int
    parameters: int
    size_bytes: int


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor, as `show --tensors` lists it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    size_bytes: int
    file: str


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of safetensors files say."""

    parameters: int
    size_bytes: int
    dtypes: dict[str, int]
    """Parameters of each dtype, in safetensors' words; of quantised matrices int4, fp8, …"""
    parts: list[Part]
    files: list[str]
    """Empty where there is a config only."""
    layers: int
    """Blocks that the tensors' names count."""


class TokenizerFit(msgspec.Struct, frozen=True, kw_only=True):
    """The tokenizer beside a model."""

    vocab_size: int
    sha256: str
    fits: bool
    """Whether every id has a row in the embedding."""


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """A model; `kind` is also "gguf", and "safetensors" and "config", which hold less."""

    schema: str = "llmkit.show/1"
    kind: str
    path: str
    model_type: str | None = None
    shape: dict[str, Any] = {}
    supported: bool | None = None
    """Whether llmkit can run it; `why_not` says what stands in the way."""
    why_not: str | None = None
    tied: bool | None = None
    weights: Weights | None = None
    tokenizer: TokenizerFit | None = None
    chat_template: bool | None = None
    metadata: dict[str, str] = {}
    made_by: str | None = None
    """The command line that wrote the folder."""


def show_model(folder: Path, *, kind: str = "model") -> ModelReport:
    """A model folder, or a GGUF file.

    Raises:
        MissingError: the weights are not there.
        DataError: config.json, a header or the index is damaged.
    """
    tensors = read_plain_tensors(folder)
    weights = count_weights(tensors.values())
    fields = _fields(folder)
    tokenizer, rows = None, embedding_rows(tensors)
    if holds_tokenizer(folder):
        tokenizer = load_tokenizer(folder)
    return ModelReport(
        kind=kind,
        path=str(folder),
        **fields,
        tied=not any(part.name == "head" for part in weights.parts) if rows else None,
        weights=weights,
        tokenizer=None
        if tokenizer is None
        else TokenizerFit(
            vocab_size=tokenizer.vocab_size,
            sha256=tokenizer.sha256,
            fits=rows is None or tokenizer.vocab_size <= rows,
        ),
        chat_template=None if tokenizer is None else tokenizer.chat_template is not None,
        made_by=(read_provenance(folder) or {}).get("command_line") if folder.is_dir() else None,
    )


def _fields(path: Path) -> dict[str, Any]:
    """What the config says of a folder, which may have none, or of a GGUF file."""
    if path.is_dir():
        return _config_fields(read_config(path), path / CONFIG) if (path / CONFIG).is_file() else {}
    try:
        return _config_fields(read_model_config(path), path)
    except ConfigError as error:
        why = error.problem.removeprefix(f"{path}: ")
        return {"model_type": None, "shape": {}, "supported": False, "why_not": why}


def show_safetensors(path: Path) -> ModelReport:
    """One safetensors file."""
    header: Header = read_header(path)
    return ModelReport(
        kind="safetensors",
        path=str(path),
        weights=count_weights(header.tensors.values()),
        metadata=header.metadata,
    )


def show_config(path: Path) -> ModelReport:
    """A config.json without its weights; they are counted from the shape where llmkit knows the family."""
    config = read_config(path)
    fields = _config_fields(config, path)
    return ModelReport(
        kind="config",
        path=str(path),
        **fields,
        tied=fields["shape"].get("tie_word_embeddings"),
        weights=_planned_weights(ModelConfig.from_hf(config, source=str(path)))
        if fields["supported"] and quantised_section(config) is None  # of those kv-estimate tells
        else None,
    )


def list_tensors(tensors: Iterable[TensorInfo]) -> Iterator[Tensor]:
    """Every tensor, in the order of layers and names that a reader expects: layer 2 before layer 10."""
    for tensor in sorted(tensors, key=lambda one: _natural(one.name)):
        yield Tensor(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            parameters=tensor.numel,
            size_bytes=tensor.nbytes,
            file=tensor.file.name,
        )


def count_weights(tensors: Iterable[TensorInfo]) -> Weights:
    """Tensors added up by part and by dtype."""
    counts: dict[str, list[int]] = {}
    dtypes: dict[str, int] = {}
    layers: set[str] = set()
    files: set[str] = set()
    for tensor in tensors:
        count = counts.setdefault(part_of(tensor.name), [0, 0, 0])
        for position, amount in enumerate((1, tensor.numel, tensor.nbytes)):
            count[position] += amount
        dtype = tensor.layout.codes_name if isinstance(tensor, QuantisedInfo) else tensor.dtype
        dtypes[dtype] = dtypes.get(dtype, 0) + tensor.numel
        if tensor.file.name:
            files.add(tensor.file.name)
        if block := re.search(r"(?:layers|h|blocks|blk)\.(\d+)\.", tensor.name):
            layers.add(block[1])
    parts = [
        Part(name=name, tensors=counts[name][0], parameters=counts[name][1], size_bytes=counts[name][2])
        for name in PARTS
        if name in counts
    ]
    return Weights(
        parameters=sum(part.parameters for part in parts),
        size_bytes=sum(part.size_bytes for part in parts),
        dtypes=dict(sorted(dtypes.items(), key=lambda item: (-DTYPE_BITS.get(item[0], 0), item[0]))),
        parts=parts,
        files=sorted(files),
        layers=len(layers),
    )


def embedding_rows(tensors: Mapping[str, TensorInfo]) -> int | None:
    """Rows of the embedding: one for each id that the model knows. None where no tensor is one."""
    rows = [
        one.shape[0] for one in tensors.values() if part_of(one.name) == "embedding" and len(one.shape) == 2
    ]
    return rows[0] if rows else None


def part_of(name: str) -> str:
    """embedding, positions, attention, mlp, experts, norm, head or other, from a tensor's name."""
    return next((part for part, pattern in _PATTERNS if pattern.search(name)), "other")


def _planned_weights(config: ModelConfig) -> Weights:
    """What the weights of a config will be, in the dtype it names."""
    dtype = next(
        (word for word, name in CONFIG_DTYPES.items() if name == config.dtype.removeprefix("torch.")), "F32"
    )
    nowhere = Path()
    return count_weights(
        TensorInfo(name, dtype, shape, math.prod(shape) * DTYPE_BITS[dtype] // 8, nowhere)
        for name, shape in tensor_shapes(config).items()
    )


def _config_fields(config: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        known = ModelConfig.from_hf(config, source=str(path))
    except ConfigError as error:
        why_not: str | None = error.problem.removeprefix(f"{path}: ")
        shape = {key: _look_up(config, key, older) for key, older in SHAPE_KEYS.items()}
    else:
        why_not = None
        shape = {key: getattr(known, key) for key in SHAPE_KEYS}
        if known.position != "rope":
            del shape["rope_theta"]
    return {
        "model_type": config.get("model_type"),
        "shape": {key: value for key, value in shape.items() if value is not None},
        "supported": why_not is None,
        "why_not": why_not,
    }


def _look_up(config: dict[str, Any], key: str, older: tuple[str, ...]) -> Any:
    return next((config[name] for name in (key, *older) if config.get(name) is not None), None)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", name)]
