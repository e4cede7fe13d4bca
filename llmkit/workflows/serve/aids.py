"""What `llmkit serve` has beside the model, opened before a weight is read: tools that it runs, an index."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import UsageError
from llmkit.retrieve.config import SearchFlags
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.server.config import PassagesConfig, ServeConfig, ToolsConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.retrieve.embedding import EmbedOptions
from llmkit.workflows.retrieve.finder import Finder, check_finder, open_finder
from llmkit.workflows.retrieve.search import SearchOptions
from llmkit.workflows.tool.open import check_tools, open_tools
from llmkit.workflows.tool.options import ToolOptions

if TYPE_CHECKING:
    from llmkit.server.retrieval import Retrieval
    from llmkit.server.tool_bench import ToolBench

MOST_PASSAGES = 8
SERVE_FLAGS = SearchFlags(
    by="--retrieve-by",
    embed=None,
    embed_url="--retrieve-embed-url",
    embed_name="--retrieve-embed-name",
    embed_key="--retrieve-embed-key",
    key="--retrieve-key",
    seconds=None,
    fewer="ask for fewer passages: --retrieve INDEX:K",
)
_WITH_NUMBER = re.compile(r"(.+):([0-9]+)", re.DOTALL)


@dataclass(frozen=True)
class Aids:
    """All of it, open."""

    toolbox: Toolbox | None
    finder: Finder | None
    most_passages: int

    def bench(self, tokenizer: Tokenizer) -> "ToolBench | None":
        """What runs the tools for a model with this tokenizer."""
        from llmkit.server.tool_bench import ToolBench

        return None if self.toolbox is None else ToolBench(self.toolbox, tokenizer)

    def retrieval(self, tokenizer: Tokenizer, context: int) -> "Retrieval | None":
        """What finds passages for a model with this tokenizer and so many positions."""
        from llmkit.server.retrieval import Retrieval

        if self.finder is None:
            return None
        find, at_once = self.finder.find, self.finder.at_once
        return Retrieval(find, tokenizer, most=self.most_passages, context=context, at_once=at_once)


@contextmanager
def open_aids(config: ServeConfig) -> Iterator[Aids]:
    """Open it; closed again at the end.

    Raises:
        UsageError, MissingError, DataError, LlmkitError: see `open_tools` and `open_finder`.
    """
    with ExitStack() as stack:
        toolbox = stack.enter_context(open_tools(tool_options(config.tools)))
        finder, most = None, MOST_PASSAGES
        if config.retrieve is not None:
            path, most = read_index(config.retrieve)
            finder = stack.enter_context(open_finder(path, search_options(config.passages)))
        yield Aids(toolbox, finder, most)


def check_aids(config: ServeConfig) -> None:
    """What `open_aids` finds out before it starts a program, asks a server or reads a weight.

    Raises:
        UsageError, MissingError, DataError, LlmkitError: see there.
    """
    check_tools(tool_options(config.tools))
    if config.retrieve is not None:
        path, _ = read_index(config.retrieve)
        check_finder(path, search_options(config.passages))


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


def search_options(config: PassagesConfig) -> SearchOptions:
    """The options of `open_finder`.

    Raises:
        UsageError: a setting has nothing to say.
    """
    embed = EmbedOptions(
        url=config.embed_url, name=config.embed_name, key=config.embed_key, flags=SERVE_FLAGS
    )
    return SearchOptions(by=config.by, embed=embed, key=config.key, flags=SERVE_FLAGS)


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
