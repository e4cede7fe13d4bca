"""What `llmkit serve` has beside the model, opened before a weight is read: tools that it runs, an index."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.retrieve.store import Store
from llmkit.retrieve.tool_loop import Toolbox
from llmkit.server.config import ServeConfig, ToolsConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.retrieve.index import open_index
from llmkit.workflows.tool.open import open_tools
from llmkit.workflows.tool.options import ToolOptions

if TYPE_CHECKING:
    from llmkit.server.retrieval import Retrieval
    from llmkit.server.tool_bench import ToolBench

MOST_PASSAGES = 8
_WITH_NUMBER = re.compile(r"(.+):([0-9]+)", re.DOTALL)


@dataclass(frozen=True)
class Aids:
    """All of it, open."""

    toolbox: Toolbox | None
    store: Store | None
    most_passages: int

    def bench(self, tokenizer: Tokenizer) -> "ToolBench | None":
        """What runs the tools for a model with this tokenizer."""
        from llmkit.server.tool_bench import ToolBench

        return None if self.toolbox is None else ToolBench(self.toolbox, tokenizer)

    def retrieval(self, tokenizer: Tokenizer, context: int) -> "Retrieval | None":
        """What finds passages for a model with this tokenizer and so many positions."""
        from llmkit.server.retrieval import Retrieval

        if self.store is None:
            return None
        return Retrieval(self.store, tokenizer, most=self.most_passages, context=context)


@contextmanager
def open_aids(config: ServeConfig) -> Iterator[Aids]:
    """Open it; closed again at the end.

    Raises:
        UsageError, MissingError, DataError, LlmkitError: see `tool_open.open_tools` and
            `retrieve_index.open_index`.
    """
    with ExitStack() as stack:
        toolbox = stack.enter_context(open_tools(tool_options(config.tools)))
        store, most = None, MOST_PASSAGES
        if config.retrieve is not None:
            path, most = read_index(config.retrieve)
            store = stack.enter_context(open_index(path))
        yield Aids(toolbox, store, most)


def tool_options(config: ToolsConfig) -> ToolOptions:
    """The options of `open_tools`. Who may be called is who is named: nobody sits at a server to be asked.

    Raises:
        UsageError: a setting has nothing to say.
    """
    return ToolOptions(
        tools=config.tools,
        schemas=config.schemas,
        approve="auto" if config.tools else "ask",
        max_calls=config.max_calls,
        limits=config.limits,
    )


def read_index(source: str) -> tuple[Path, int]:
    """`INDEX[:K]`: the index, and how many passages are looked for.

    Raises:
        UsageError: none.
    """
    numbered = _WITH_NUMBER.fullmatch(source)
    if numbered is None or Path(source).exists():
        return Path(source), MOST_PASSAGES
    if not int(numbered[2]):
        raise UsageError(
            f"--retrieve {source}: no passages", hint=f"--retrieve {numbered[1]}:{MOST_PASSAGES}"
        )
    return Path(numbered[1]), int(numbered[2])
