"""Keys of rows that set nothing and look as if they did: misspelt, or as another program calls a setting."""

from collections.abc import Iterable, Iterator

from llmkit.errors import nearest
from llmkit.formats.jsonl import Record
from llmkit.workflows.generate.overrides import OVERRIDES
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.generate.template_kwargs import KEY

ELSEWHERE = {
    **{"n_predict": "max_tokens", "num_predict": "max_tokens", "max_new_tokens": "max_tokens"},
    **{"max_completion_tokens": "max_tokens", "repeat_penalty": "repetition_penalty", "temp": "temperature"},
    **{"num_return_sequences": "samples", "stop_token_ids": "stop_ids", "typ_p": "typical_p"},
    **{"n_probs": "logprobs", "response_format": "json_schema", "guided_grammar": "grammar"},
    **{"guided_json": "json_schema", "guided_regex": "regex", "guided_choice": "choice"},
}
"""What llama.cpp, Ollama, transformers, OpenAI and vLLM say, and what rows say here."""
_TOLD = dict.fromkeys(("enable_thinking", "reasoning_effort"), KEY)
"""What a chat template is told, and where."""
_ORDINARY = {"sample", "choices"}
"""Near a setting, and often in rows: our own, and questions with answers to choose from."""
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
        ELSEWHERE.get(key)
        or _TOLD.get(key)
        or nearest(key.lower().replace("-", "_"), OVERRIDES, cutoff=_NEAR)
    )
