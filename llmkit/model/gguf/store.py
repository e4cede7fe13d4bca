"""The weights of one GGUF model: checked against its keys, and read as plain numbers. No torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.model_folder import CONFIG_DTYPES
from llmkit.model.arrays import filled
from llmkit.model.config import ModelConfig
from llmkit.model.extend_context import extend_context
from llmkit.model.gguf.config import layers_ahead
from llmkit.model.gguf.curves import read_curves
from llmkit.model.gguf.file import gguf_file_config
from llmkit.model.gguf.names import GgufGroup, gguf_groups
from llmkit.model.gguf.rope import TABLES
from llmkit.model.gguf.shown import HEAD
from llmkit.model.grouped_store import AS_STORED, GroupedStore
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.shapes import Shape, tensor_shapes
from llmkit.model.stored_numbers import ARRAY_DTYPES, CACHED_VALUES, as_dtype, kept_dtype_name


class GgufStore(GroupedStore[GgufGroup]):
    """See `WeightStore`: of any architecture that is a family here."""

    def __init__(self, path: Path, rope_scaling: Mapping[str, Any] | None = None) -> None:
        """Read the header.

        Raises:
            MissingError: no such file, or one of several is not there.
            ConfigError: its architecture, or something in it, is not supported.
            DataError: it is damaged, or its tensors are not what its keys say.
        """
        self._data = GgufData(path)
        content = gguf_file_config(self._data)
        if rope_scaling is not None:
            content = extend_context(content, rope_scaling, str(path))
        config = ModelConfig.from_hf(content, source=str(path))
        shapes = tensor_shapes(config)
        super().__init__(config, shapes, gguf_groups(config, shapes, self._data.tensors))
        self._check(self._expected())
        self._curves: dict[str, float] = {}
        if config.hidden_act == "xielu":
            self._curves = read_curves(self._data.header.metadata, config.num_hidden_layers, str(path))

    @property
    def quantised(self) -> bool:
        """See `WeightStore`."""
        kept = (name for group in self._groups.values() for name in group.theirs)
        return any(self._data.info(name).type not in CONFIG_DTYPES for name in kept)

    def form(self, name: str) -> str:
        """See `WeightStore`."""
        if name in self._curves:
            return "float32"
        kind = self._data.info(self._groups[name].theirs[0]).type
        return CONFIG_DTYPES.get(kind, kind.lower())

    def offer(self, coded: CodedWeights) -> None:
        """See `WeightStore`."""
        for group in self._all_groups():
            coded.take_gguf(group, self._data, self._rows(group))

    def read(self, name: str, dtype: str, *, mapped: bool) -> dict[str, NDArray[Any]]:
        """See `WeightStore`."""
        if name in self._curves:
            return {name: as_dtype(np.full(self.shapes[name], self._curves[name], np.float32), dtype)}
        group, dtype = self._groups[name], kept_dtype_name(name, dtype)
        mapped = mapped and group.how in AS_STORED
        exact = "float32" if group.is_computed else dtype
        found = [self._tensor(one, exact, mapped=mapped) for one in group.theirs]
        ours = zip(group.ours, group.unpack(found, self._rows(group)), strict=True)
        return {name: as_dtype(one, dtype).reshape(self.shapes[name]) for name, one in ours}

    def _tensor(self, name: str, dtype: str, *, mapped: bool) -> NDArray[Any]:
        """One of the file's tensors: its own pages, or in memory of its own."""
        info, shape = self._data.info(name), self._data.shape(name)
        if mapped and CONFIG_DTYPES.get(info.type) == dtype:
            return self._files.array(self._data.file(name), info.offset, shape, ARRAY_DTYPES[dtype])
        kind = "float16" if dtype == "float16" else "float32"  # beyond float16 is refused there
        pieces = self._data.pieces(name, kind, piece_values=CACHED_VALUES)
        return filled(
            shape, ARRAY_DTYPES[dtype], (as_dtype(one, dtype) for one in pieces), self._data.file(name)
        )

    def _check(self, expected: Mapping[str, Shape]) -> None:
        data = self._data
        ahead = layers_ahead(data.header, str(data.path))
        others = [name for name in data.tensors if name not in expected]
        surplus = [name for name in others if not _is_extra(name, self.config, ahead)]
        missing = [name for name in expected if name not in data.tensors]
        if missing or surplus:
            what = f"lacks {some_of(missing)}" if missing else f"has {some_of(surplus)}"
            raise DataError(
                f"{data.path}: it {what}, unlike {self.config.model_type} models of its keys",
                hint="convert the model again from where it was published",
            )
        for name, shape in expected.items():
            found = data.shape(name)
            if _squeezed(found) != _squeezed(shape):
                raise DataError(
                    f"{data.path}: {name} is {list(found)}, its keys ask for {list(shape)}",
                    hint="convert the model again from where it was published",
                )


def _is_extra(name: str, config: ModelConfig, ahead: int) -> bool:
    """What is no weight of the model: tables of positions, a tied head, layers that predict further."""
    parts = name.split(".")
    if name == HEAD and config.tie_word_embeddings:
        return True
    if name in TABLES or (len(parts) > 2 and parts[2] in ("attn_rot_embd", "rope_freqs")):
        return True
    further = range(config.num_hidden_layers, config.num_hidden_layers + ahead)
    return len(parts) > 1 and parts[0] == "blk" and parts[1].isdecimal() and int(parts[1]) in further


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)
