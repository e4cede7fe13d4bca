"""How much a job asks for at most."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.retrieve.tools.config import ToolLimits
from llmkit.workflows.generate.batch import RefusedError
from llmkit.workflows.generate.extent import Extent, extent_of, tool_extent
from llmkit.workflows.generate.row import Refusal, Row
from llmkit.workflows.tool.options import ToolOptions

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


@pytest.mark.parametrize(("context", "positions"), [(100_000, 30 + 2 * (20 + 50)), (120, 120)])
def test_each_call_takes_a_text_and_a_result(context: int, positions: int) -> None:
    tools = ToolOptions(tools=("calculator",), limits=ToolLimits(output_bytes=100))
    toolbox = SimpleNamespace(max_calls=2)
    job: Any = SimpleNamespace(
        files=SimpleNamespace(tools=tools),
        talk=SimpleNamespace(toolbox=toolbox),
        sampling=SimpleNamespace(max_tokens=20),
        model=SimpleNamespace(max_position_embeddings=context),
    )
    extent = Extent(rows=5, prompt_tokens=10, positions=30, texts=7)
    assert tool_extent(job, extent) == replace(extent, positions=positions, texts=1)
    without = cast(Any, SimpleNamespace(files=SimpleNamespace(tools=None), talk=None, path=Path()))
    assert tool_extent(without, extent) == extent
