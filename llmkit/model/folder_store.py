"""The weights of a model folder, config.json and safetensors: checked, and read in turn. No torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, some_of
from llmkit.formats.model_folder import (
    BELONG_TOGETHER,
    CONFIG,
    CONFIG_DTYPES,
    TensorInfo,
    read_tensors,
)
from llmkit.model.arrays import filled
from llmkit.model.config import ModelConfig
from llmkit.model.extend_context import extend_context
from llmkit.model.file_names import HEADS, SINUSOIDS
from llmkit.model.grouped_store import AS_STORED, GroupedStore
from llmkit.model.names import Group, as_kept, groups
from llmkit.model.plain_weights import plain_weights
from llmkit.model.pooling import with_head_of
from llmkit.model.position_tables import sinusoids
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.quantised.quantisation import quantisation
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.shapes import Shape, tensor_shapes
from llmkit.model.source import read_model_config
from llmkit.model.stored_numbers import ARRAY_DTYPES, CACHED_VALUES, as_dtype, kept_dtype_name

_EMBEDDING = "model.embed_tokens.weight"


class FolderStore(GroupedStore[Group]):
    """See `WeightStore`: of any family, plain or quantised."""

    def __init__(self, path: Path, rope_scaling: Mapping[str, Any] | None = None) -> None:
        """Read the config and the headers.

        Raises:
            MissingError: a file is not there.
            ConfigError: the config asks for something that is not supported.
            DataError: the weights are damaged or are not this config's.
        """
        content, source = read_model_config(path), str(path / CONFIG)
        if rope_scaling is not None:
            content = extend_context(content, rope_scaling, source)
        config = ModelConfig.from_hf(content, source=source)
        told = quantisation(content, source)
        stored = plain_weights(read_tensors(path), config, told)
        config = with_head_of(config, path, stored)
        shapes = tensor_shapes(config)
        super().__init__(config, shapes, [as_kept(one, stored) for one in groups(config, shapes)])
        self._path = path
        self._method = "" if told is None else told.method
        self._stored = stored
        expected = self._expected()
        if config.position == "sinusoidal":
            expected[SINUSOIDS] = (config.max_position_embeddings, config.hidden_size)
        self._check(expected)
        if config.position == "sinusoidal":
            self._check_sinusoids()

    @property
    def quantised(self) -> bool:
        """See `WeightStore`."""
        return any(isinstance(one, QuantisedInfo) for one in self._stored.values())

    def form(self, name: str) -> str:
        """See `WeightStore`."""
        first = self._stored[self._groups[name].theirs[0]]
        return self._method if isinstance(first, QuantisedInfo) else CONFIG_DTYPES[first.dtype]

    def offer(self, coded: CodedWeights) -> None:
        """See `WeightStore`."""
        for group in self._all_groups():
            found = [self._stored[name] for name in group.theirs]
            if coded.take_stored(group, found, self._rows(group)) and _EMBEDDING in group.ours:
                self._check_head("float32")

    def read(self, name: str, dtype: str, *, mapped: bool) -> dict[str, NDArray[Any]]:
        """See `WeightStore`."""
        group, dtype = self._groups[name], kept_dtype_name(name, dtype)
        mapped = mapped and group.how in AS_STORED
        found = [self._tensor(self._stored[one], dtype, mapped=mapped) for one in group.theirs]
        if _EMBEDDING in group.ours:
            self._check_head(dtype)
        return dict(zip(group.ours, group.unpack(found, self._rows(group)), strict=True))

    def _tensor(self, info: TensorInfo, dtype: str, *, mapped: bool) -> NDArray[Any]:
        """One of the file's tensors; in memory of its own, past the pages that others may have mapped, where
        it is not mapped itself."""
        if isinstance(info, QuantisedInfo):
            return as_dtype(info.read(), dtype)
        if mapped and CONFIG_DTYPES[info.dtype] == dtype:
            return self._files.array(info.file, info.offset, info.shape, ARRAY_DTYPES[dtype])
        return filled(info.shape, ARRAY_DTYPES[dtype], _pieces(info, dtype), info.file)

    def _check(self, expected: Mapping[str, Shape]) -> None:
        stored = self._stored
        missing = sorted(expected.keys() - stored.keys())
        # a tied head may be stored all the same
        surplus = sorted(stored.keys() - expected.keys() - set(HEADS))
        if missing or surplus:
            what = f"lack {some_of(missing)}" if missing else f"have {some_of(surplus)}"
            raise DataError(
                f"{self._path}: the weights {what}, which config.json tells otherwise", hint=BELONG_TOGETHER
            )
        for name, shape in expected.items():
            if stored[name].shape != shape:
                raise DataError(
                    f"{self._path}: {name} is {list(stored[name].shape)}, config.json asks for {list(shape)}",
                    hint=BELONG_TOGETHER,
                )
            if stored[name].dtype not in CONFIG_DTYPES:
                raise DataError(
                    f"{self._path}: {name} is stored as {stored[name].dtype}, which is not supported yet",
                    hint=f"ask for the model's {', '.join(ARRAY_DTYPES)} weights",
                )

    def _check_head(self, dtype: str) -> None:
        """A head that is stored although it is said to be the embedding would be lost without a word."""
        head = next((name for name in HEADS if name in self._stored), None)
        if head is None or not self.config.tie_word_embeddings:
            return
        one, other = (self._stored[name] for name in (head, self._groups[_EMBEDDING].theirs[0]))
        if one.shape != other.shape or not _same_numbers(one, other, dtype):
            raise DataError(
                f"{self._path}: {head} differs from the embedding that tie_word_embeddings says it is",
                hint='set "tie_word_embeddings": false in config.json',
            )

    def _check_sinusoids(self) -> None:
        """What could be computed must be what the config says it is."""
        table = self._tensor(self._stored[SINUSOIDS], "float32", mapped=False)
        if not np.allclose(table, sinusoids(*table.shape), atol=1e-2):
            raise DataError(
                f"{self._path}: {SINUSOIDS} is not the sinusoids that position_embedding_type names",
                hint="remove position_embedding_type from config.json to load it as learned positions",
            )


def _pieces(info: TensorInfo, dtype: str) -> Iterator[NDArray[Any]]:
    """The values of a stored tensor one after the other, (n,); of a quantised one, too."""
    starts = range(0, info.numel, CACHED_VALUES)
    if isinstance(info, QuantisedInfo):
        values = info.read().reshape(-1)
        yield from (as_dtype(values[begin : begin + CACHED_VALUES], dtype) for begin in starts)
        return
    stored = ARRAY_DTYPES[CONFIG_DTYPES[info.dtype]]
    with info.file.open("rb") as stream:
        stream.seek(info.offset)
        for begin in starts:
            yield as_dtype(np.fromfile(stream, stored, min(CACHED_VALUES, info.numel - begin)), dtype)


def _same_numbers(one: TensorInfo, other: TensorInfo, dtype: str) -> bool:
    """Whether stored tensors of one shape are equal as a dtype."""
    pairs = zip(_pieces(one, dtype), _pieces(other, dtype), strict=True)
    return all(np.array_equal(as_dtype(a, "float32"), as_dtype(b, "float32")) for a, b in pairs)
