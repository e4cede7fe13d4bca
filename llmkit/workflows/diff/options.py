"""What `llmkit diff` compares, and from where on two values are different."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["tensors", "config", "tokenizer", "shards"]
PARTS: tuple[Part, ...] = ("tensors", "config", "tokenizer", "shards")


@dataclass(frozen=True, kw_only=True)
class DiffConfig:
    """The choices of one comparison."""

    only: tuple[Part, ...] = ()
    """Parts to compare; none named: all that both artefacts have."""
    atol: float = 0.0
    rtol: float = 0.0
    """Values a and b differ when |a - b| > atol + rtol · |b|. Both 0: when their bits do."""
    headers: bool = False
    """Compare names, shapes and dtypes of tensors, and read no value."""
    patterns: tuple[str, ...] = ()
    """Tensors to compare, by shell pattern; none: all."""
    any_dtype: bool = False
    """Another dtype by itself is no difference."""
    texts: tuple[Path, ...] = ()
    """Documents to encode with both tokenizers."""

    @property
    def bit_for_bit(self) -> bool:
        """Whether no difference is allowed at all."""
        return self.atol == self.rtol == 0
