"""What a position of a layer sees of its text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Positions that one of them sees."""

    size: int | None = None
    """How many at most, its own included; None for all before it."""
    chunked: bool = False
    """Windows stand side by side, and it sees its own from its beginning on."""

    def first_seen(self, position: int) -> int:
        """The first position of a text that one of its positions sees."""
        if self.size is None:
            return 0
        return position // self.size * self.size if self.chunked else max(0, position - self.size + 1)


ALL = Window()
