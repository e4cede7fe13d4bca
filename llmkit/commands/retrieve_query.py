"""llmkit retrieve query: queries in, the passages that answer them out."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from llmkit.commands.shared import Force, Rejects, SkipBad, inputs_or_stdin
from llmkit.errors import GateFailed
from llmkit.formats.jsonl import encode_line, raw
from llmkit.formats.rejects import bad_lines
from llmkit.formats.streams import is_terminal, open_output

if TYPE_CHECKING:
    from llmkit.workflows.retrieve_query import Hit, Query


def query(
    ctx: typer.Context,
    index: Annotated[Path, Argument(metavar="INDEX", help="What `retrieve index` made.")],
    text: Annotated[str | None, Argument(metavar="[TEXT]", help="What to look for.")] = None,
    queries: Annotated[
        list[Path] | None, Option("--jsonl", metavar="FILE", help="Queries, one a line; - is stdin.")
    ] = None,
    most: Annotated[int, Option("--k", "-k", min=1, metavar="N", help="Passages a query.")] = 5,
    k1: Annotated[float, Option("--k1", metavar="X", help="BM25: how much a repeated word counts.")] = 1.5,
    b: Annotated[float, Option("--b", metavar="X", help="BM25: how much length is marked down.")] = 0.75,
    field: Annotated[
        str | None, Option(metavar="KEY", help="Key of the query; default query, question, prompt or text.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Of TEXT too: a record, as of --jsonl.")] = False,
    out: Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    unbuffered: Annotated[bool, Option("--unbuffered", help="Write each result at once.")] = False,
) -> None:
    """Find the passages that answer a query best (BM25, as Lucene scores it).

    Exit status 1 when nothing is found for any query.

    \b
    Reads   {"query": str, ...}    a line each, or plain lines
    Writes  the same, with "hits": [{"id", "score", "document", "start", "end",
            "heading"?, "text", "source"?, "metadata"?}, ...]

    \b
    Examples:
      llmkit retrieve query index 'how is a loop ended?'
      echo '{"query": "raise an exception"}' | llmkit retrieve query index -k 3
    """
    from llmkit.retrieve.bm25 import Bm25Config
    from llmkit.workflows.retrieve_index import open_index
    from llmkit.workflows.retrieve_query import Query, answer_queries, read_queries

    config = Bm25Config(k1=k1, b=b)
    usage = f"llmkit retrieve query {index} 'a question'"
    paths = [] if text is not None else inputs_or_stdin(queries, usage)
    files: dict[str, Any] = {"force": force, "inputs": [index, *paths]}
    found = 0
    with (
        open_index(index) as store,
        bad_lines("retrieve query", skip=skip_bad, rejects=rejects, out=out, **files) as bad,
        open_output(out, **files) as stream,
    ):
        flush = unbuffered or is_terminal(out)

        def asked() -> Iterator[Query]:
            if text is not None:
                yield Query(text, {"query": raw(text)})
            for path in paths:
                yield from read_queries(path, field, on_bad=bad.on_bad)

        for one, hits in answer_queries(store, asked(), config, most=most):
            found += len(hits)
            if text is None or as_json:
                stream.write(encode_line({**one.record, "hits": raw(hits)}))
            else:
                stream.write(_readable(one, hits).encode())
            if flush:
                stream.flush()
    if bad.count:
        ctx.obj.console.note(f"{bad.count} malformed lines passed over")
    if not found:
        raise GateFailed("nothing was found", hint="ask with words that the documents have")


def _readable(query: "Query", hits: list["Hit"]) -> str:
    parts = []
    for number, hit in enumerate(hits, 1):
        place = f"{hit.document}:{hit.start}-{hit.end}" + (f"  {hit.heading}" if hit.heading else "")
        body = "\n".join("   " + line for line in hit.text.splitlines())
        parts.append(f"{number}. {hit.score:.2f}  {place}\n{body}\n")
    return "\n".join(parts)
