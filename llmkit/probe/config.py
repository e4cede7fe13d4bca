"""Settings of the measurements: torch- and numpy-free, so that flags can show their defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BenchTokenizeConfig:
    """How much to measure."""

    rounds: int = 9
    max_bytes: int = 4_000_000
    """Text to encode in each round, about: documents from the start of the input."""
    fail_slower: float = 0.1
    """Share of the baseline's speed that may be lost."""
    require_quiet: bool = False
