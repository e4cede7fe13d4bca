"""llmkit retrieve eval: how good what is found is, with a gate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.retrieve import flags
from llmkit.commands.shared import Force, JsonReport, inputs_or_stdin, print_report
from llmkit.commands.values import parse_share
from llmkit.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from llmkit.workflows.retrieve.eval import RetrievalReport


@with_flag_groups
def evaluate(
    ctx: typer.Context,
    *,
    index: Annotated[
        Path | None, Option("--index", metavar="INDEX", help="Search here; else the records have hits.")
    ] = None,
    queries: Annotated[
        list[Path] | None, Argument(metavar="FILE", help="Queries with relevant ids; - is stdin.")
    ] = None,
    most: flags.Most = 10,
    relevant: Annotated[
        str, Option(metavar="KEY", help="Key of the relevant ids, or grades by id.")
    ] = "relevant",
    min_recall: Annotated[
        float | None, Option(parser=parse_share, metavar="X", help="Exit 1 below this recall.")
    ] = None,
    searching: flags.Searching,
    per_record: Annotated[Path | None, Option(metavar="FILE", help="Each query's figures, as jsonl.")] = None,
    force: Force = False,
    as_json: JsonReport = False,
) -> None:
    """Judge what is found beside what is known to be relevant.

    Recall, reciprocal rank of the first relevant document, and nDCG, all among
    the first -k documents.

    \b
    Reads   {"query": str, "relevant": ["id", ...] or {"id": grade, ...}}
            with --index, or with the "hits" that `retrieve query` adds

    \b
    Examples:
      llmkit retrieve eval asked.jsonl --index index -k 5
      llmkit retrieve query index --jsonl asked.jsonl | llmkit retrieve eval -
    """
    from llmkit.workflows.retrieve.eval import evaluate as judge_all
    from llmkit.workflows.retrieve.eval import read_answers
    from llmkit.workflows.retrieve.run import open_run

    usage = "llmkit retrieve eval QUERIES --index INDEX"
    if index is None:
        for name, value in vars(searching).items():
            if name != "field" and value != getattr(flags.Searching, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} {value}: the hits are there, nothing is searched",
                    hint="--index INDEX",
                )
        read = inputs_or_stdin(queries, usage)
        answered = read_answers(read, searching.field)
        report = judge_all(answered, most, relevant, per_record, force=force, inputs=read)
    else:
        options = flags.run_options(index, queries, most, searching, flags.Results(), usage=usage)
        with open_run("retrieve eval", options) as run:
            report = judge_all(run.documents(), most, relevant, per_record, force=force, inputs=run.inputs)
    print_report(report, as_json, _describe)
    if min_recall is not None and report.recall < min_recall:
        raise GateFailed(
            f"recall@{report.k} {report.recall:.3f} is below {min_recall:g}",
            hint="see which with --per-record",
        )


def _describe(report: "RetrievalReport") -> str:
    figures = f"recall@{report.k} {report.recall:.3f}  MRR {report.mrr:.3f}  nDCG {report.ndcg:.3f}"
    nothing = f"; nothing found for {report.nothing_found:,}" if report.nothing_found else ""
    return f"{figures}  of {report.queries:,} queries{nothing}"
