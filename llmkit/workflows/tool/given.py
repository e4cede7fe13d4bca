"""Functions that a model may call, where any are named: what opens them is imported only then."""

from contextlib import AbstractContextManager, nullcontext

from llmkit.retrieve.tools.loop import Toolbox
from llmkit.workflows.tool.options import ToolOptions


def given_tools(options: ToolOptions | None) -> AbstractContextManager[Toolbox | None]:
    """Everything that can be called, for as long as this lasts; None where there is nothing.

    Raises:
        UsageError, MissingError, DataError, LlmkitError: see `open_tools`.
    """
    if options is None or not options.is_given:
        return nullcontext()
    from llmkit.workflows.tool.open import open_tools

    return open_tools(options)
