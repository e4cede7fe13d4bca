"""The flags that the searching subcommands of `llmkit retrieve` share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

Index = Annotated[Path, Argument(metavar="INDEX", help="What `retrieve index` made.")]
Text = Annotated[str | None, Argument(metavar="[TEXT]", help="What to look for.")]
Queries = Annotated[
    list[Path] | None, Option("--jsonl", metavar="FILE", help="Queries, one a line; - is stdin.")
]
Most = Annotated[int, Option("--k", "-k", min=1, metavar="N", help="Passages a query.")]
K1 = Annotated[float, Option("--k1", metavar="X", help="BM25: how much a repeated word counts.")]
B = Annotated[float, Option("--b", metavar="X", help="BM25: how much length is marked down.")]
Field = Annotated[
    str | None, Option(metavar="KEY", help="Key of the query; default query, question, prompt or text.")
]
Out = Annotated[Path | None, Option("--out", "-o", metavar="FILE", help="Instead of stdout.")]
Unbuffered = Annotated[bool, Option("--unbuffered", help="Write each result at once.")]
