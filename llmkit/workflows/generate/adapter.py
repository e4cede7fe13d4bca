"""--adapter: which adapters a job has, checked before any weight is read, and loaded beside the base."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import MissingError, UsageError
from llmkit.formats.gguf.adapter import read_gguf_adapter
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import read_header
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_peft_config
from llmkit.workflows.scaled_path import parse_scaled_path

if TYPE_CHECKING:
    from llmkit.engine.adapters.values import Adapter
    from llmkit.model.config import ModelConfig
    from llmkit.model.transformer import Transformer

OFF = "off"
"""What names the base alone where a name is typed."""


@dataclass(frozen=True)
class AdapterSource:
    """An adapter that was named."""

    name: str
    path: Path
    strength: float
    """What its scale is multiplied with."""
    nbytes: int
    """Of its values in memory, which are float32."""


@dataclass(frozen=True)
class AdapterSources:
    """Those of a job."""

    sources: tuple[AdapterSource, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may ask for."""
        return tuple(source.name for source in self.sources)

    @property
    def default(self) -> str | None:
        """What a request gets that names none: the one adapter there is; of several none."""
        return self.sources[0].name if len(self.sources) == 1 else None

    @property
    def nbytes(self) -> int:
        """Of all."""
        return sum(source.nbytes for source in self.sources)


NO_ADAPTERS = AdapterSources()


def open_adapters(given: Sequence[str]) -> AdapterSources:
    """What --adapter names, each `NAME=PATH`, `NAME=PATH:STRENGTH`, or a path whose last part is the name.

    Raises:
        UsageError: two of one name, or a strength that is no number.
        MissingError: no adapter is there.
        ConfigError, DataError: see `open_adapter`.
    """
    sources: list[AdapterSource] = []
    for text in given:
        source = _open(text)
        if source.name in (one.name for one in sources):
            raise UsageError(
                f"--adapter {text}: there is another one called {source.name!r}",
                hint=f"--adapter OTHER-NAME={source.path}",
            )
        sources.append(source)
    return AdapterSources(tuple(sources))


def adapter_path(text: str) -> Path:
    """Where the adapter is that --adapter names, be one there or not.

    Raises:
        UsageError: its strength is no number.
    """
    return _parse(text)[1]


def _parse(text: str) -> tuple[str, Path, float]:
    """The name, empty where there is none; the path and the strength."""
    name, equals, rest = text.partition("=")
    if not equals or "/" in name:
        name, rest = "", text
    return name, *parse_scaled_path(rest)


def _open(text: str) -> AdapterSource:
    name, path, strength = _parse(text)
    name = name or path.resolve().name.removesuffix(".gguf")
    if name == OFF or not name:
        raise UsageError(f"--adapter {text}: {name!r} is no name", hint=f"--adapter NAME={path}")
    return open_adapter(name, path, strength)


def open_adapter(name: str, path: Path, strength: float) -> AdapterSource:
    """An adapter that is there: PEFT's folder, or a GGUF file.

    Raises:
        MissingError: none is.
        ConfigError, DataError: see `read_peft_config` and `read_header`, or `read_gguf_adapter`.
    """
    if is_gguf(path):
        halves = [half for pair in read_gguf_adapter(path).pairs.values() for half in pair.halves]
        return AdapterSource(name, path, strength, sum(4 * half.numel for half in halves))
    weights = path / ADAPTER_WEIGHTS
    if not path.is_dir() or not (path / ADAPTER_CONFIG).is_file() or not weights.is_file():
        raise MissingError(
            f"{path}: no adapter (a folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, or a .gguf file)",
            hint="--adapter NAME=PATH[:STRENGTH]",
        )
    read_peft_config(path)
    nbytes = sum(4 * tensor.numel for tensor in read_header(weights).tensors.values())
    return AdapterSource(name, path, strength, nbytes)


def load_adapters(sources: AdapterSources, model: "Transformer", config: "ModelConfig") -> list["Adapter"]:
    """Read them, and make them ready for the base.

    Args:
        sources: which.
        model: the base, its weights still there.
        config: of the base.

    Raises:
        DataError, ConfigError: see `load_adapter`.
        UsageError, DataError: see `prepare_adapter`.
    """
    if not sources.sources:
        return []
    from llmkit.engine.adapters.prepare import prepare_adapter
    from llmkit.model.adapters.load import load_adapter

    return [
        prepare_adapter(model, one.name, load_adapter(one.path, config), strength=one.strength)
        for one in sources.sources
    ]
