"""llmkit retrieve query: queries in, the passages that answer them out."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.retrieve import flags
from llmkit.errors import DataError, GateFailed

if TYPE_CHECKING:
    from llmkit.retrieve.hits import Hit
    from llmkit.workflows.retrieve.run import Run


@with_flag_groups
def query(
    ctx: typer.Context,
    *,
    index: flags.Index,
    text: flags.Text = None,
    queries: flags.Queries = None,
    most: flags.Most = 5,
    searching: flags.Searching,
    as_json: Annotated[bool, Option("--json", help="Of TEXT too: a record, as of --jsonl.")] = False,
    results: flags.Results,
) -> None:
    """Find the passages that answer a query best.

    By words: BM25, as Lucene scores it. By meaning: the cosine of vectors, less
    the mean of all, from the model of `retrieve index --embed`. By both: the sum
    of 1 / (5 + place), weighted. Exit status 1 when nothing is found for any query.
    --rerank ranks the best of these again: by the yes of a model that was made to
    judge (its modules.json has a LogitScore), or, with any other model, by how
    probable the query is to it after the passage.

    An address in the place of INDEX searches another engine: by words as that engine
    scores them, and by vectors with --embed-url or --embed. The fields that are read
    are text, heading, document and the only vector, unless the address names others:

    \b
    opensearch+https://HOST:9200/INDEX   (elasticsearch+ is the same)
    qdrant+http://HOST:6333/COLLECTION?text=body&vector=dense

    \b
    Reads   {"query": str, ...}    a line each, or the lines of a .txt file
    Writes  the same, with "hits": [{"id", "score", "document", "start", "end",
            "heading"?, "text", "source"?, "metadata"?}, ...]

    \b
    Examples:
      llmkit retrieve query index 'how is a loop ended?'
      llmkit retrieve query index 'how is a loop ended?' --rerank run
      echo '{"query": "raise an exception"}' | llmkit retrieve query index -k 3
    """
    from llmkit.workflows.retrieve.run import open_run

    usage = f"llmkit retrieve query {index} 'a question'"
    options = flags.run_options(index, queries, most, searching, results, usage=usage, text=text)
    with open_run("retrieve query", options) as run:
        for one, hits in run.answers():
            if text is None or as_json:
                run.write_record(one, hits=hits)
            else:
                run.write(_readable(hits).encode())
    finish(ctx, run)


def finish(ctx: typer.Context, run: "Run") -> None:
    """Say what was passed over; nothing found is an answer that is no.

    Raises:
        GateFailed: nothing was found.
        DataError: nothing was asked.
    """
    if run.bad.count:
        ctx.obj.console.note(f"{run.bad.count} malformed lines passed over")
    if not run.asked:
        raise DataError("no queries", hint='a line each: {"query": "..."}, or the lines of a .txt file')
    if not run.found:
        raise GateFailed("nothing was found", hint="ask with words that the documents have")


def _readable(hits: list["Hit"]) -> str:
    parts = []
    for number, hit in enumerate(hits, 1):
        place = f"{hit.document}:{hit.start}-{hit.end}" + (f"  {hit.heading}" if hit.heading else "")
        body = "\n".join("   " + line for line in hit.text.splitlines())
        parts.append(f"{number}. {hit.score:.3g}  {place}\n{body}\n")
    return "\n".join(parts)
