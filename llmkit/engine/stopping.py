"""Stop strings in a text that arrives in pieces."""

from collections.abc import Iterable


class StopStrings:
    """Lets text through up to the first stop string, wherever the pieces are cut.

    The string that is complete first ends the text; of two that are complete together, the longer. What could
    still become a stop string is held back.

    Attributes:
        hit: the stop string that ended the text, or None.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self.hit: str | None = None
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._held = ""

    def push(self, text: str) -> str:
        """What may be shown now that `text` has come; nothing after a stop string."""
        if self.hit is not None:
            return ""
        self._held += text
        found = min(
            ((self._held.find(stop) + len(stop), stop) for stop in self._stops if stop in self._held),
            key=lambda one: one[0],
            default=None,
        )
        if found is not None:
            end, self.hit = found
            shown, self._held = self._held[: end - len(self.hit)], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """What was held back, when nothing more comes."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
