"""An adapter out of a GGUF file and into one: names and layouts of the base's file.

Shapes: r rank, in and out of a matrix (out, in), V rows of an embedding, D its width.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import ConfigError, DataError, nearest, some_of
from llmkit.formats.gguf.adapter import (
    EMBEDDING,
    FIRST,
    SECOND,
    GgufPair,
    adapter_metadata,
    read_gguf_adapter,
)
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor
from llmkit.formats.model_folder import CONFIG_DTYPES
from llmkit.model.adapters.joined import joined
from llmkit.model.adapters.names import peft_modules
from llmkit.model.adapters.weights import TRAINED_ON, AdapterWeights, LowRank
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import dtype_name
from llmkit.model.gguf.architectures import gguf_architecture
from llmkit.model.gguf.keys import as_float32, shortest
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.gguf.save import FILE_TYPES, GGUF_TYPES, matrix_type, pieces

_MERGE = "put it into its base, llmkit merge BASE --adapter, and convert that"
_WEIGHT = ".weight"


@dataclass(frozen=True)
class GgufAdapterContent:
    """What a file of an adapter holds."""

    metadata: dict[str, MetadataValue]
    tensors: list[GgufTensor]
    dtype: str


@dataclass(frozen=True)
class _Matrix:
    """A matrix of the base's file that can be adapted."""

    group: GgufGroup
    ours: tuple[str, ...]
    """Our modules that it holds, in order."""
    rows: tuple[int, ...]
    """out of each of them."""
    columns: int
    is_embedding: bool

    @property
    def name(self) -> str:
        """In the base's file."""
        return self.group.theirs[0]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Rows of ours, (out, ...), to those of the file's."""
        return self.group.pack(tensors)[0]

    def moved(self, factors: LowRank) -> LowRank:
        """Factors of one of ours as the file has its rows and columns."""
        if self.group.moves_columns:
            return LowRank(self.join([factors.A]), factors.B, factors.scale)
        return LowRank(factors.A, self.join([factors.B]), factors.scale)

    def split(self, tensor: Tensor) -> list[Tensor]:
        """The inverse."""
        return self.group.unpack([tensor], self.rows)


def load_gguf_adapter(path: Path, model_config: ModelConfig) -> AdapterWeights:
    """The values of an adapter's GGUF file: matrices that it joins are split, A is then shared.

    Args:
        path: of the file.
        model_config: of the model that it is for.

    Raises:
        MissingError: no such file.
        ConfigError: the adapter is of a kind that is not supported, or not for such a model.
        DataError: it is damaged.
    """
    told = read_gguf_adapter(path)
    architecture = gguf_architecture(model_config).name
    if told.architecture != architecture:
        raise ConfigError(
            f"{path}: an adapter of a model of {told.architecture}, and this one is of {architecture}",
            hint=TRAINED_ON,
        )
    data = GgufData(path)
    known = {matrix.name: matrix for matrix in _matrices(model_config)}
    modules: dict[str, LowRank] = {}
    for name, pair in told.pairs.items():
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(
                f"{path}: it adapts {name}, of which a {model_config.model_type} model has no adapter here"
                + (f" (nearest: {guess})" if guess else ""),
                hint=TRAINED_ON,
            )
        modules |= _read(data, known[name], pair, told.scale(pair.rank))
    return AdapterWeights(modules=modules, base=told.base)


def gguf_adapter(
    weights: AdapterWeights, model_config: ModelConfig, dtype: str | None, base: str | None
) -> GgufAdapterContent:
    """An adapter as the content of a GGUF file.

    There is one alpha for all matrices: where one is scaled otherwise, its lora_b has the difference.

    Args:
        weights: of the adapter.
        model_config: of its base.
        dtype: float32, float16, bfloat16 or q8_0; None: the factors' own, and float32 where they are of
            several or some are scaled anew. Rows that are no whole number of q8_0's blocks are float16.
        base: the model it is for, as it is told.

    Raises:
        ConfigError: llama.cpp has no such adapter, or no such model.
    """
    _check_known(weights, model_config)
    made: dict[str, LowRank] = {}
    for matrix in _matrices(model_config):
        if any(name in weights.modules for name in matrix.ours):
            made[matrix.name] = _joined(matrix, weights.modules)
    alphas = {name: shortest(as_float32(one.scale * one.rank)) for name, one in made.items()}
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    dtypes = {part.dtype for one in made.values() for part in (one.A, one.B)}
    if dtype is None:
        same = len(dtypes) == 1 and all(one == alpha for one in alphas.values())
        dtype = dtype_name(dtypes.pop()) if same else "float32"
    tensors: list[GgufTensor] = []
    for name, one in made.items():
        A, B = one.A, one.B
        if alphas[name] != alpha:
            B = B.float() * (alphas[name] / alpha)
        if name == EMBEDDING:
            A, B = B, A.t()  # (V, r), (D, r)
        tensors += [_tensor(name + FIRST, A, dtype), _tensor(name + SECOND, B, dtype)]
    metadata = adapter_metadata(gguf_architecture(model_config).name, alpha, base)
    metadata["general.file_type"] = Typed("u32", FILE_TYPES[GGUF_TYPES[dtype]])
    if dtype == "q8_0":
        metadata["general.quantization_version"] = Typed("u32", 2)
    return GgufAdapterContent(metadata, tensors, dtype)


def _matrices(config: ModelConfig) -> list[_Matrix]:
    """Those that can have factors in a file, in the model's order: what is in two there cannot, kv_b_proj of
    latent attention and in_proj_qkvz of Qwen3-Next.
    """
    modules = peft_modules(config)
    rows = {name: count for one in modules for name, count in zip(one.ours, one.rows, strict=True)}
    columns = {name: one.columns for one in modules for name in one.ours}
    embeddings = {name for one in modules for name in one.ours if one.is_embedding}
    found = []
    for group in gguf_groups(config, [name + _WEIGHT for name in rows]):
        ours = tuple(name.removesuffix(_WEIGHT) for name in group.ours)
        if len(group.theirs) > 1:
            continue
        counts = tuple(rows[name] for name in ours)
        found.append(_Matrix(group, ours, counts, columns[ours[0]], ours[0] in embeddings))
    return found


def _joined(matrix: _Matrix, ours: Mapping[str, LowRank]) -> LowRank:
    """Factors with rows in the file's order."""
    one = joined(matrix, ours)
    return one if len(matrix.ours) > 1 else matrix.moved(one)


def _read(data: GgufData, matrix: _Matrix, pair: GgufPair, scale: float) -> dict[str, LowRank]:
    """The factors of a matrix of the file, for each of our modules."""
    A, B = (_values(data, one.name) for one in pair.halves)
    if matrix.is_embedding:
        A, B = B.t().contiguous(), A
    if A.shape[1] != matrix.columns or len(B) != sum(matrix.rows):
        raise DataError(
            f"{data.path}: factors of {matrix.name} are {list(pair.A.dims[::-1])} and "
            f"{list(pair.B.dims[::-1])}, for a matrix of {[sum(matrix.rows), matrix.columns]} (the model)",
            hint=TRAINED_ON,
        )
    if matrix.group.moves_columns:
        return {matrix.ours[0]: LowRank(matrix.split(A)[0], B, scale)}
    return {name: LowRank(A, rows, scale) for name, rows in zip(matrix.ours, matrix.split(B), strict=True)}


def _values(data: GgufData, name: str) -> Tensor:
    """A factor in the dtype that it is stored in; quantised ones as float32."""
    kind = CONFIG_DTYPES.get(data.info(name).type, "float32")
    return torch.from_numpy(data.values(name)).to(getattr(torch, kind))


def _check_known(weights: AdapterWeights, config: ModelConfig) -> None:
    """Refuse what a file has no words for, or llama.cpp does not do."""
    if weights.whole:
        raise ConfigError(
            f"llama.cpp's adapters have no whole tensors (found {some_of(sorted(weights.whole))})",
            hint=_MERGE,
        )
    if weights.use_dora:
        raise ConfigError("llama.cpp's adapters have no DoRA", hint=_MERGE)
    known = {name for matrix in _matrices(config) for name in matrix.ours}
    if unknown := weights.modules.keys() - known:
        raise ConfigError(f"llama.cpp's adapters have no factors of {min(unknown)}", hint=_MERGE)
    ends = {"model.embed_tokens", "lm_head"} & weights.modules.keys()
    if ends and config.tie_word_embeddings and not gguf_architecture(config).needs_head:
        raise ConfigError(
            f"llama.cpp has no adapter of {min(ends)} where the head is the embedding", hint=_MERGE
        )


def _tensor(name: str, values: Tensor, dtype: str) -> GgufTensor:
    shape = tuple(values.shape)
    kind = matrix_type(shape, GGUF_TYPES[dtype])
    return GgufTensor(name, shape, kind, lambda: pieces(values, kind))
