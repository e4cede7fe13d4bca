"""Where a config.json speaks of quantised weights: `quantization_config`, or MLX's `quantization`.

Apart from quantisation.py, which loads numpy with the formats: most configs have none,
and kv-estimate reads them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

METHODS = ("awq", "bitsandbytes", "compressed-tensors", "fp8", "gptq", "mxfp4")
"""Values of quant_method that are read; MLX writes none."""
_KEYS = ("quantization_config", "quantization")


def quantised_section(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The section that says how weights are quantised; None where there is none."""
    inner = config.get("text_config")
    for place in (config, inner) if isinstance(inner, Mapping) else (config,):
        for key in _KEYS:
            section = place.get(key)
            if isinstance(section, Mapping) and section:
                return section
    return None


class SectionKeys(ABC):
    """A section, its values looked up with their kinds checked. Every problem names its key."""

    def __init__(self, section: Mapping[str, Any]) -> None:
        self.section = section

    @abstractmethod
    def wrong(self, key: str, *wanted: Any) -> NoReturn:
        """Refuse what stands at a key; any of these would do."""

    def whole(self, *names: str) -> int:
        """A whole number above zero, under the first of these names that is there."""
        key = next((name for name in names if name in self.section), names[0])
        value = self.section.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.wrong(key, "a whole number above zero")
        return value

    def group(self, *names: str) -> int | None:
        """Columns that share a scale; None for a whole row, which files write as -1, 0 or null."""
        key = next((name for name in names if name in self.section), names[0])
        return None if self.section.get(key) in (-1, 0, None) else self.whole(key)

    def pair(self, key: str) -> tuple[int, int] | None:
        """Two whole numbers above zero; None where absent."""
        match self.section.get(key):
            case None:
                return None
            case [int(first), int(second)] if first > 0 and second > 0:
                return first, second
        self.wrong(key, "two whole numbers above zero")
