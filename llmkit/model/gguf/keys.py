"""The keys of a GGUF file that describe its model, each with its type checked."""

import struct
from collections.abc import Mapping
from typing import Any, NoReturn

from llmkit.errors import ConfigError

_HINT = "fetch the file again, or give the config.json that it was converted from"


class GgufKeys:
    """The metadata of one file, read under the name of its architecture.

    Args:
        metadata: of the header.
        architecture: general.architecture.
        source: the file's name, for messages.
    """

    def __init__(self, metadata: Mapping[str, Any], architecture: str, source: str) -> None:
        self.metadata = metadata
        self.architecture = architecture
        self.source = source

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number; a list with one for each layer where all are the same. None: it must be there.

        Raises:
            ConfigError: it is missing or no such number.
        """
        value = self._get(name)
        if isinstance(value, list) and value and all(one == value[0] for one in value):
            value = value[0]
        if value is None:
            return self._missing(name) if default is None else default
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.wrong(name, "one whole number")
        return value

    def optional(self, name: str) -> int | None:
        """A whole number, or None where the key is not there.

        Raises:
            ConfigError: it is no such number.
        """
        return None if self._get(name) is None else self.whole(name)

    def number(self, name: str, default: float | None = None) -> float:
        """A number, as the shortest decimal that is the same float32: 1e-5, not 9.999999747378752e-06.

        Raises:
            ConfigError: it is missing or no number.
        """
        value = self._get(name)
        if value is None:
            return self._missing(name) if default is None else default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(name, "a number")
        return shortest(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false.

        Raises:
            ConfigError: it is neither.
        """
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "true or false")
        return default if value is None else value

    def word(self, name: str, default: str) -> str:
        """A string.

        Raises:
            ConfigError: it is none.
        """
        value = self._get(name)
        if value is not None and not isinstance(value, str):
            self.wrong(name, "a string")
        return default if value is None else value

    def listed(self, name: str, length: int) -> list[Any] | int | None:
        """A list with an entry for each layer, one whole number, or None.

        Raises:
            ConfigError: it is neither, or a list of another length.
        """
        value = self._get(name)
        if isinstance(value, list) and len(value) != length:
            self.wrong(name, f"a list of {length}")
        if value is not None and not isinstance(value, list | int):
            self.wrong(name, f"a whole number or a list of {length}")
        return value

    def wrong(self, name: str, wanted: str) -> NoReturn:
        """Raises ConfigError: the key is not what is wanted."""
        found = self._get(name)
        raise ConfigError(f"{self.source}: {self._key(name)} is not {wanted} (found {found!r})", hint=_HINT)

    def _get(self, name: str) -> Any:
        return self.metadata.get(self._key(name))

    def _missing(self, name: str) -> NoReturn:
        raise ConfigError(f"{self.source}: no {self._key(name)} in its metadata", hint=_HINT)

    def _key(self, name: str) -> str:
        return f"{self.architecture}.{name}"


def shortest(value: float) -> float:
    """The decimal of fewest digits that is the same float32; a whole number as it is."""
    if isinstance(value, int):
        return value
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if as_float32(short) == as_float32(value):
            return short
    return value


def as_float32(value: float) -> float:
    """The nearest float32; what is beyond them, as it is."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return value
    return rounded
