"""Keys of rows that set nothing and look as if they did: misspelt, or as another program calls a setting."""

from collections.abc import Iterable, Iterator

from llmkit.errors import nearest
from llmkit.formats.jsonl import Record
from llmkit.workflows.generate.overrides import OVERRIDES
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.template_kwargs import KEY
from llmkit.workflows.peer_names import name_here

_TOLD = dict.fromkeys(("enable_thinking", "reasoning_effort"), KEY)
"""What a chat template is told, and where."""
_ORDINARY = {"sample", "choices", "predict", "n_tokens"}
"""A setting elsewhere or near one, and often in rows: our own, and what people note of texts and answers."""
_NEAR = 0.85  # of 1: one letter in six or so


class NearKeys:
    """Watches rows go by."""

    def __init__(self) -> None:
        self._meant: dict[str, str | None] = {}

    def watched(self, rows: Iterable[Row | Refusal]) -> Iterator[Row | Refusal]:
        """The same rows; those of OpenAI's batch files refuse what they do not know by themselves."""
        for row in rows:
            if isinstance(row, Row) and row.call is None:
                self._look(row.record)
            yield row

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each such key that there was."""
        return tuple(
            f'"{key}" in rows sets nothing, it is passed through: did you mean "{meant}"?'
            for key, meant in self._meant.items()
            if meant is not None
        )

    def _look(self, record: Record) -> None:
        for key in record:
            if key not in self._meant and key not in OVERRIDES:
                self._meant[key] = _meant(key)


def _meant(key: str) -> str | None:
    if key in _ORDINARY:
        return None
    return (
        name_here(key, OVERRIDES)
        or _TOLD.get(key)
        or nearest(key.lower().replace("-", "_"), OVERRIDES, cutoff=_NEAR)
    )
