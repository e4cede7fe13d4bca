"""How records become examples to learn from."""

from dataclasses import dataclass
from typing import Literal

from llmkit.errors import UsageError

LongExamples = Literal["cut", "drop", "error"]


@dataclass(frozen=True, kw_only=True)
class SuperviseConfig:
    """How records become examples to learn from."""

    max_tokens: int | None = None
    """Most tokens of an example (of a pair, of each side); None: as many as a row has room for."""
    long: LongExamples = "cut"
    """What becomes of an example that is longer: its end is cut off, it is left out, or it is an error."""
    valid_fraction: float = 0.0
    """Share of the records held out for validation, chosen by what they say: equal ones on the same side."""
    seed: int = 0
    """Another seed holds out other records."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 2:
            raise UsageError(
                f"--max-tokens {self.max_tokens} leaves nothing to learn from", hint="--max-tokens 1024"
            )
        if not 0 <= self.valid_fraction < 1:
            raise UsageError(
                f"--valid-fraction {self.valid_fraction} is not a share below 1", hint="--valid-fraction 0.05"
            )
