"""Numbers for an engine's texts at work, of whoever looks at them more than once."""

from collections.abc import Iterable

from llmkit.engine.text import Text


class Places:
    """Numbers of texts at work: each keeps its own from the first look at it to the last."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}

    def given(self, texts: Iterable[Text]) -> dict[int, Text]:
        """Texts by their places; new ones get the lowest that are free."""
        now = {text.number: text for text in texts}
        self._of = {number: place for number, place in self._of.items() if number in now}
        taken = set(self._of.values())
        free = (place for place in range(len(now)) if place not in taken)
        for number in sorted(now.keys() - self._of.keys()):
            self._of[number] = next(free)
        return {place: now[number] for number, place in self._of.items()}
