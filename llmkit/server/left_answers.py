"""What answers took that a router has given up, which has no answer to read it from. No torch."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator

from llmkit.server.gate import Slot
from llmkit.server.handoff import slot_line

MOST = 4096


class LeftAnswers:
    """The latest of them, by the ids of their requests, until each is asked for."""

    def __init__(self, most: int = MOST) -> None:
        self._lines: OrderedDict[str, str] = OrderedDict()
        self._most = most

    @contextlib.contextmanager
    def noted(self, request_id: str, slot: Slot) -> Iterator[None]:
        """An answer is written within this; where it is given up, what it took is kept."""
        try:
            yield
        except BaseException:
            self._lines[request_id] = slot_line(slot)
            while len(self._lines) > self._most:
                self._lines.popitem(last=False)
            raise

    def take(self, request_id: str) -> str | None:
        """What one took, as `slot_line` tells it; None: it is not given up, or not known here."""
        return self._lines.pop(request_id, None)
