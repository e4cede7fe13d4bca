"""Tools where any are named; nothing is read for them where none is."""

import subprocess
import sys

from llmkit.workflows.tool.given import given_tools
from llmkit.workflows.tool.options import ToolOptions


def test_what_is_named_is_opened_and_without_a_name_there_is_nothing() -> None:
    with given_tools(ToolOptions(tools=("calculator",), approve="auto")) as toolbox:
        assert toolbox is not None and [*toolbox.names] == ["calculator"]
    for nothing in (None, ToolOptions()):
        with given_tools(nothing) as toolbox:
            assert toolbox is None


def test_nothing_that_opens_tools_is_imported_where_none_is_named() -> None:
    code = (
        "import sys; from llmkit.workflows.tool.given import given_tools\n"
        "with given_tools(None): print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert not {"llmkit.workflows.tool.open", "llmkit.retrieve.tools.mcp"} & set(loaded.split())
