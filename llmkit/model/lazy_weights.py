"""A model's weights read when they are asked for, under the model's own names, as float32.

`load_model` gives a model that computes; this gives its numbers to whoever looks at them once and in turn, so
that memory is that of a few tensors, however large the model and however it is kept: safetensors of any
family, quantised folders, GGUF files.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from llmkit.errors import DataError, some_of
from llmkit.formats.gguf_data import GgufData
from llmkit.formats.gguf_magic import is_gguf
from llmkit.formats.model_folder import CONFIG, CONFIG_DTYPES, read_config, read_tensors
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES
from llmkit.model.file_names import stored_weights
from llmkit.model.gguf_load import check_gguf
from llmkit.model.gguf_names import GgufGroup, gguf_groups
from llmkit.model.load import read_tensor
from llmkit.model.names import Group, groups
from llmkit.model.quantisation import quantisation
from llmkit.model.save import SINUSOIDS
from llmkit.model.source import check_model, config_source, read_model_config
from llmkit.model.stored_quantised import QuantisedInfo, plain_tensors
from llmkit.model.transformer import model_shapes

_EMBEDDING = "model.embed_tokens.weight"
_HEADS = ("lm_head.weight", "embed_out.weight")
_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_TOGETHER = "the config.json and the safetensors of one model belong together"


class _Store(Protocol):
    """One form of file."""

    quantised: bool

    def dtype(self, name: str) -> str:
        """How a tensor is kept, in words for people."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """At least these tensors, with the others of their groups."""


class LazyWeights:
    """The weights of one model, none of them read yet."""

    def __init__(self, path: Path) -> None:
        """Read the config and the headers.

        Args:
            path: a model folder or a GGUF file.

        Raises:
            MissingError: there is none.
            ConfigError: it is not supported.
            DataError: it is damaged, or its tensors are not what its config tells.
        """
        check_model(path)
        self.path = path
        self.config = ModelConfig.from_hf(read_model_config(path), source=config_source(path))
        self.shapes = model_shapes(self.config)
        """Of the model's tensors, in its order."""
        self._store: _Store = (
            _GgufFile(path, self.config, self.shapes)
            if is_gguf(path)
            else _Folder(path, self.config, self.shapes)
        )

    @property
    def quantised(self) -> bool:
        """Whether any matrix is kept in fewer bits than plain numbers have."""
        return self._store.quantised

    def dtype(self, name: str) -> str:
        """How a tensor is kept: float32, bfloat16, float16, or the name of a quantised form."""
        return self._store.dtype(name)

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Some tensors, float32, in memory of their own.

        Raises:
            DataError: the file is damaged.
        """
        wanted = list(dict.fromkeys(names))
        found = dict(self._store.read(wanted))
        return {name: found[name].float() for name in wanted}


class _Folder:
    """config.json and safetensors, plain or quantised."""

    def __init__(self, path: Path, config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._path, self._config, self._shapes = path, config, shapes
        kept = groups(config, shapes)
        turned = {name for one in kept if one.how in ("turned", "joined_turned") for name in one.theirs}
        told = quantisation(read_config(path), str(path / CONFIG))
        self._stored = plain_tensors(stored_weights(read_tensors(path), config), told, turned)
        self._group: dict[str, Group] = {name: group for group in kept for name in group.ours}
        self.quantised = any(isinstance(one, QuantisedInfo) for one in self._stored.values())
        self._method = told.method if told is not None else ""
        self._check(kept)

    def dtype(self, name: str) -> str:
        first = self._stored[self._group[name].theirs[0]]
        return self._method if isinstance(first, QuantisedInfo) else CONFIG_DTYPES[first.dtype]

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        for group in dict.fromkeys(self._group[name] for name in names):
            found = [read_tensor(self._stored[name]) for name in group.theirs]
            rows = [self._shapes[name][0] for name in group.ours]
            yield from zip(group.ours, group.unpack(found, rows), strict=True)
            if _EMBEDDING in group.ours and self._config.tie_word_embeddings:
                self._check_head(found[0])

    def _check(self, kept: Iterable[Group]) -> None:
        expected: dict[str, tuple[int, ...]] = {}
        for group in kept:
            packed = group.shapes([self._shapes[name] for name in group.ours])
            expected |= dict(zip(group.theirs, packed, strict=True))
        extra = {*_HEADS, *((SINUSOIDS,) if self._config.position == "sinusoidal" else ())}
        missing = sorted(expected.keys() - self._stored.keys())
        surplus = sorted(self._stored.keys() - expected.keys() - extra)
        if missing or surplus:
            what = f"lack {some_of(missing)}" if missing else f"have {some_of(surplus)}"
            raise DataError(
                f"{self._path}: the weights {what}, which config.json tells otherwise", hint=_TOGETHER
            )
        for name, shape in expected.items():
            one = self._stored[name]
            if one.shape != shape:
                raise DataError(
                    f"{self._path}: {name} is {list(one.shape)}, config.json asks for {list(shape)}",
                    hint=_TOGETHER,
                )
            if one.dtype not in CONFIG_DTYPES:
                raise DataError(
                    f"{self._path}: {name} is stored as {one.dtype}, which is not supported yet",
                    hint=f"ask for the model's {', '.join(DTYPES)} weights",
                )

    def _check_head(self, embedding: Tensor) -> None:
        """A head that is stored although it is said to be the embedding would be lost without a word."""
        head = next((name for name in _HEADS if name in self._stored), None)
        if head is not None and not torch.equal(read_tensor(self._stored[head]), embedding):
            raise DataError(
                f"{self._path}: {head} differs from the embedding that tie_word_embeddings says it is",
                hint='set "tie_word_embeddings": false in config.json',
            )


class _GgufFile:
    """One GGUF file."""

    def __init__(self, path: Path, config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
        check_gguf(path)
        self._data, self._shapes = GgufData(path), shapes
        kept = gguf_groups(config, shapes, self._data.tensors)
        self._group: dict[str, GgufGroup] = {name: group for group in kept for name in group.ours}
        self.quantised = any(
            self._data.info(name).type not in _PLAIN for group in kept for name in group.theirs
        )

    def dtype(self, name: str) -> str:
        kind = self._data.info(self._group[name].theirs[0]).type
        return _PLAIN.get(kind, kind.lower())

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        for group in dict.fromkeys(self._group[name] for name in names):
            found = [torch.from_numpy(self._data.values(name)) for name in group.theirs]
            rows = [self._shapes[name][0] for name in group.ours]
            for name, one in zip(group.ours, group.unpack(found, rows), strict=True):
                yield name, one.reshape(self._shapes[name])
