"""How much a job asks for at most."""

from types import SimpleNamespace
from typing import Any

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.workflows.generate.batch import RefusedError
from llmkit.workflows.generate.extent import Extent, extent_of
from llmkit.workflows.generate.rows import Refusal, Row

JOB: Any = SimpleNamespace(model=SimpleNamespace(max_position_embeddings=64))
CALL: Any = None


def _row(tokens: int, most: int, samples: int = 1) -> Row:
    return Row(Request((1,) * tokens, SamplingConfig(max_tokens=most, samples=samples)), {})


def test_the_extent_is_that_of_the_longest() -> None:
    extent = extent_of(JOB, [_row(10, 5), _row(3, 30, samples=4), _row(20, 3)])
    assert (extent.rows, extent.prompt_tokens, extent.positions, extent.texts) == (3, 20, 3 + 30 - 1, 6)


def test_a_refused_row_is_a_row_without_a_text() -> None:
    refused = Refusal(CALL, RefusedError("no"), {})
    assert extent_of(JOB, [refused, refused]) == Extent(rows=2, prompt_tokens=0, positions=0, texts=0)
