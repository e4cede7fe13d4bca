"""An adapter in figures. No torch: reports name it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """One adapter in figures."""

    name: str
    memory_bytes: int
    texts: int
    """Begun with it so far."""
