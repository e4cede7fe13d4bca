"""The flags that the searching subcommands of `llmkit retrieve` share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from llmkit.commands.optional_value import FILE_OR_STDIN
from llmkit.commands.shared import Force, Rejects, SkipBad, inputs_or_stdin
from llmkit.commands.values import parse_seconds
from llmkit.formats.streams import STDIO
from llmkit.retrieve.config import Bm25Config, By

if TYPE_CHECKING:
    from llmkit.workflows.retrieve.run import RetrieveOptions

Index = Annotated[Path, Argument(metavar="INDEX", help="What `retrieve index` made, or ENGINE+URL.")]
Text = Annotated[str | None, Argument(metavar="[TEXT]", help="What to look for.")]
Queries = Annotated[
    list[Path] | None,
    Option("--jsonl", metavar="[FILE]", parser=FILE_OR_STDIN, help="Queries, one a line; alone: on stdin."),
]
Most = Annotated[int, Option("--k", "-k", min=1, metavar="N", help="Passages a query.")]
Device = Annotated[str, Option("--device", metavar="NAME", help="Of models: auto, cpu, cuda, cuda:N.")]
EmbedUrl = Annotated[
    str | None, Option("--embed-url", metavar="URL", help="Of a server with /v1/embeddings, for --embed.")
]
EmbedName = Annotated[str | None, Option("--embed-name", metavar="NAME", help="Which of its models.")]
EmbedKey = Annotated[
    Path | None, Option("--embed-key", metavar="FILE", help="Its one line is the key that it asks for.")
]


@dataclass(frozen=True, kw_only=True)
class Searching:
    """What passages are found by."""

    by: Annotated[By, Option("--by", help="meaning, both: by vectors too.")] = "words"
    embed: Annotated[
        Path | None,
        Option("--embed", metavar="MODEL", help="The vectors' model.", show_default="where it was"),
    ] = None
    embed_url: EmbedUrl = None
    embed_name: EmbedName = None
    embed_key: EmbedKey = None
    meaning_weight: Annotated[
        float | None,
        Option(
            metavar="X", help="Of vectors in --by both, 0 to 1.", show_default="0.8; 0.5 with a plain --embed"
        ),
    ] = None
    index_key: Annotated[
        Path | None, Option("--index-key", metavar="FILE", help="Of an engine: USER:PASSWORD or a key.")
    ] = None
    index_timeout: Annotated[
        float | None,
        Option(
            "--index-timeout",
            parser=parse_seconds,
            metavar="TIME",
            help="Of an engine, or of a server of vectors.",
            show_default="30s",
        ),
    ] = None
    rerank: Annotated[
        Path | None,
        Option("--rerank", metavar="MODEL", help="Rank again: as it judges, or by log p(query | passage)."),
    ] = None
    candidates: Annotated[
        int | None,
        Option("--candidates", min=1, metavar="N", help="Passages that --rerank ranks.", show_default="50"),
    ] = None
    device: Device = "auto"
    k1: Annotated[float, Option("--k1", metavar="X", help="BM25: how much a repeated word counts.")] = (
        Bm25Config.k1
    )
    b: Annotated[float, Option("--b", metavar="X", help="BM25: how much length is marked down.")] = (
        Bm25Config.b
    )
    field: Annotated[
        str | None,
        Option(metavar="KEY", help="Key of the query; default query, question, prompt, text or messages."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """What becomes of results, and of lines that are none."""

    out: Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Instead of stdout.")] = None
    force: Force = False
    skip_bad: SkipBad = False
    rejects: Rejects = None
    unbuffered: Annotated[bool, Option("--unbuffered", help="Write each result at once.")] = False


def run_options(
    index: Path,
    queries: list[Path] | None,
    most: int,
    searching: Searching,
    results: Results,
    *,
    usage: str,
    text: str | None = None,
) -> "RetrieveOptions":
    """Flags as the options of `open_run`.

    Args:
        index, queries, most, searching, results: as given.
        usage: a line that works, for the error where there is nothing to read.
        text: as given; without it and `queries`, stdin is read.

    Raises:
        UsageError, ConfigError: there is nothing to look for, or flags do not go together.
    """
    from llmkit.workflows.retrieve.embedding import EmbedOptions
    from llmkit.workflows.retrieve.run import RetrieveOptions
    from llmkit.workflows.retrieve.search import SearchOptions

    how: dict[str, Any] = dict(vars(searching))
    embed = EmbedOptions(
        model=how.pop("embed"),
        device=searching.device,
        url=how.pop("embed_url"),
        name=how.pop("embed_name"),
        key=how.pop("embed_key"),
    )
    how["key"], how["seconds"] = how.pop("index_key"), how.pop("index_timeout")
    piped = None if queries == [STDIO] else queries  # --jsonl alone: from a pipe, not typed
    key, bm25 = how.pop("field"), Bm25Config(k1=how.pop("k1"), b=how.pop("b"))
    return RetrieveOptions(
        index=index,
        text=text,
        queries=() if text is not None else tuple(inputs_or_stdin(piped, usage)),
        key=key,
        most=most,
        search=SearchOptions(bm25=bm25, embed=embed, **how),
        **vars(results),
    )
