"""The room that results take is set aside, up to the model's context."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmkit.retrieve.tools.config import ToolLimits
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.tool.extent import tool_extent
from llmkit.workflows.tool.options import ToolOptions


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
