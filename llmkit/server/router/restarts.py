"""When a worker that has ended by itself is started again, and when it is not. A function of a clock."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RestartConfig:
    """How patient the supervisor is."""

    first_seconds: float = 0.1
    """Before the first restart; twice as long before each that follows."""
    most_seconds: float = 5.0
    crashes: int = 5
    """So many within `window_seconds` are enough: it is not started again."""
    window_seconds: float = 60.0


class Restarts:
    """The crashes of one worker."""

    def __init__(self, config: RestartConfig) -> None:
        self._config = config
        self._crashes: deque[float] = deque()
        self._in_a_row = 0

    def crashed(self, now: float) -> float | None:
        """It has ended by itself.

        Args:
            now: seconds.

        Returns:
            Seconds to wait before it is started again; None: it is given up.
        """
        config = self._config
        if self._crashes and now - self._crashes[-1] >= config.window_seconds:
            self._in_a_row = 0
        while self._crashes and now - self._crashes[0] >= config.window_seconds:
            self._crashes.popleft()
        self._crashes.append(now)
        self._in_a_row += 1
        if len(self._crashes) >= config.crashes:
            return None
        return float(min(config.first_seconds * 2 ** (self._in_a_row - 1), config.most_seconds))
