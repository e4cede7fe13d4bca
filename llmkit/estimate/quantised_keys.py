"""Keys of a quantization_config, read with their type checked, and the names of modules that it lists."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from llmkit.errors import ConfigError
from llmkit.model.quantised.section import SectionKeys


class QuantisedKeys(SectionKeys):
    """One section of a config, as sizes are told from it."""

    def __init__(self, section: Any) -> None:
        if not isinstance(section, Mapping):
            raise ConfigError(
                f"quantization_config holds {section!r} where an object belongs",
                hint="copy the model's config.json again",
            )
        super().__init__(section)

    def value(self, key: str) -> Any:
        """Whatever stands there; None where nothing does."""
        return self.section.get(key)

    def flag(self, key: str) -> bool:
        """True or false; false where absent."""
        value = self.section.get(key)
        if value not in (None, True, False):
            self.wrong(key, "true or false")
        return bool(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object; empty where absent."""
        value = self.section.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.wrong(key, "an object")
        return value or {}

    def names(self, key: str) -> list[str]:
        """A list of names; empty where absent."""
        value = self.section.get(key) or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.wrong(key, "a list of names")
        return value

    def require(self, key: str, values: tuple[Any, ...]) -> None:
        """Only these values have a size known here."""
        if self.section.get(key) not in values:
            self.wrong(key, *values)

    def regex(self, key: str, text: str) -> re.Pattern[str]:
        """A pattern of a list."""
        try:
            return re.compile(text)
        except re.error as error:
            self.wrong(key, f"valid patterns, but {text!r} is none: {error}")

    def wrong(self, key: str, *wanted: Any) -> NoReturn:
        """A value that this cannot size."""
        known = " or ".join(str(one) for one in wanted if one is not None)
        raise ConfigError(
            f"quantization_config.{key} is {self.section.get(key)!r}, and sizes are known for {known}",
            hint="say how weights are stored: --dtype w4a16-g128",
        )


def skipped(names: Iterable[str]) -> Iterator[re.Pattern[str]]:
    """Patterns of modules to leave alone, as transformers reads such a list.

    A name stands for a module and what is in it, from the start of the path, as a pattern too; or for the
    end of a path.
    """
    for name in names:
        try:
            begins = re.compile(rf"(?:{name.rstrip('.')})(?:\.|$)")
        except re.error:
            begins = re.compile(rf"{re.escape(name)}(?:\.|$)")
        yield begins
        yield re.compile(rf".*{re.escape(name)}$")
