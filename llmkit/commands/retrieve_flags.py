"""The flags that the searching subcommands of `llmkit retrieve` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

if TYPE_CHECKING:
    from llmkit.workflows.retrieve_search import SearchOptions

Index = Annotated[Path, Argument(metavar="INDEX", help="What `retrieve index` made.")]
Text = Annotated[str | None, Argument(metavar="[TEXT]", help="What to look for.")]
Queries = Annotated[
    list[Path] | None, Option("--jsonl", metavar="FILE", help="Queries, one a line; - is stdin.")
]
Most = Annotated[int, Option("--k", "-k", min=1, metavar="N", help="Passages a query.")]
K1 = Annotated[float, Option("--k1", metavar="X", help="BM25: how much a repeated word counts.")]
B = Annotated[float, Option("--b", metavar="X", help="BM25: how much length is marked down.")]
By = Annotated[Literal["words", "meaning", "both"], Option("--by", help="meaning, both: by vectors too.")]
Embed = Annotated[
    Path | None,
    Option("--embed", metavar="MODEL", help="The vectors' model.", show_default="where it was"),
]
Rerank = Annotated[
    Path | None, Option("--rerank", metavar="MODEL", help="Rank again by log p(query | passage).")
]
Candidates = Annotated[
    int | None,
    Option("--candidates", min=1, metavar="N", help="Passages that --rerank ranks.", show_default="50"),
]
Device = Annotated[str, Option("--device", metavar="NAME", help="Of models: auto, cpu, cuda, cuda:N.")]
Field = Annotated[
    str | None, Option(metavar="KEY", help="Key of the query; default query, question, prompt or text.")
]
Out = Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Instead of stdout.")]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each result at once.")]


def search_options(
    by: Literal["words", "meaning", "both"],
    embed: Path | None,
    rerank: Path | None,
    candidates: int | None,
    device: str,
    k1: float,
    b: float,
) -> "SearchOptions":
    """Flags as the options of `open_search`."""
    from llmkit.retrieve.bm25 import Bm25Config
    from llmkit.workflows.retrieve_search import SearchOptions

    return SearchOptions(
        by=by,
        bm25=Bm25Config(k1=k1, b=b),
        embed=embed,
        rerank=rerank,
        candidates=candidates,
        device=device,
    )
