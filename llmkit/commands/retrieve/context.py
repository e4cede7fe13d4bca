"""llmkit retrieve context: queries in, prompts with passages and their citations out."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.retrieve import flags
from llmkit.commands.retrieve.query import finish
from llmkit.commands.values import parse_count


@with_flag_groups
def context(
    ctx: typer.Context,
    *,
    index: flags.Index,
    text: flags.Text = None,
    queries: flags.Queries = None,
    most: flags.Most = 8,
    budget: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Most tokens of the passages.")
    ] = 2000,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="Counts tokens; else 4 letters each.")
    ] = None,
    by_document: Annotated[
        bool, Option("--in-order", help="Passages as in their documents, not the best first.")
    ] = False,
    template: Annotated[
        Path | None, Option(metavar="FILE", help="Jinja: query, passages, record; default built in.")
    ] = None,
    messages: Annotated[bool, Option("--messages", help="A user's message, not a prompt.")] = False,
    searching: flags.Searching,
    results: flags.Results,
) -> None:
    """Make prompts that have the passages to answer them from.

    Passages that overlap are joined, what is there already is left out, and
    the budget is kept. Exit status 1 when nothing is found for any query.

    Of a record with messages the query is what the user said last; --messages
    puts the prompt in its place, as serve --retrieve does.

    \b
    Reads   {"query": str, ...}    a line each, or the lines of a .txt file
    Writes  the same, with "prompt" (or "messages"), "context_tokens" and
            "citations": [{"mark", "document", "start", "end", ...}, ...]

    \b
    Examples:
      llmkit retrieve context index 'how is a loop ended?' --budget 300
      llmkit retrieve context index --jsonl asked.jsonl --messages -k 2
    """
    from llmkit.workflows.retrieve.context import ContextOptions, write_contexts
    from llmkit.workflows.retrieve.run import open_run

    usage = f"llmkit retrieve context {index} 'a question'"
    options = flags.run_options(index, queries, most, searching, results, usage=usage, text=text)
    made = ContextOptions(
        budget=budget,
        tokenizer=tokenizer,
        order="document" if by_document else "score",
        template=template,
        messages=messages,
    )
    with open_run("retrieve context", options, [template] if template else []) as run:
        without = write_contexts(run, made)
    if without:
        session: Session = ctx.obj
        session.console.note(
            f"llmkit: warning: {plural(without, 'prompt')} without passages: --budget {budget:,} holds none "
            "of those that were found"
        )
    finish(ctx, run)
