"""How fast a key may ask: buckets that fill with time. Functions of a clock that is handed in."""

from dataclasses import dataclass


@dataclass
class Bucket:
    """A bucket of requests or tokens that fills steadily, and can be drawn on below zero.

    Of work whose size is known only at the end, the size is taken then: the bucket may go below zero, and
    whoever comes next waits until it is above. So each minute passes what it may, whatever is asked for.
    """

    per_minute: float
    """How much flows in, and what it holds when it is full."""
    level: float
    at: float
    """Seconds of the clock at which it held `level`."""

    @classmethod
    def full(cls, per_minute: float, now: float) -> "Bucket":
        """A full bucket."""
        return cls(per_minute, per_minute, now)

    def wait(self, now: float, amount: float = 0.0) -> float:
        """Seconds until it has so much, or anything at all; 0 when it has."""
        self._fill(now)
        wanted = min(amount, self.per_minute)
        missing = wanted - self.level
        if missing <= 0 and (self.level > 0 or wanted > 0):
            return 0.0
        return max(missing, 1e-9) * 60.0 / self.per_minute

    def take(self, now: float, amount: float) -> None:
        """Draw on it; below zero where it has not so much."""
        self._fill(now)
        self.level -= amount

    def _fill(self, now: float) -> None:
        self.level = min(self.per_minute, self.level + max(0.0, now - self.at) * self.per_minute / 60.0)
        self.at = max(self.at, now)
