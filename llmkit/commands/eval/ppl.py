"""llmkit eval ppl: how well a model predicts documents."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import Batch, TokenizerPath
from llmkit.commands.shared import inputs_or_stdin
from llmkit.commands.values import parse_count
from llmkit.probe.evaluate.config import Like, PplConfig

Window = Annotated[
    int | None,
    Option(
        parser=parse_count,
        metavar="N",
        help="Tokens read at a time.",
        show_default="the context, 2,048 at most; 512 as llama.cpp",
    ),
]
Stride = Annotated[
    int | None,
    Option(parser=parse_count, metavar="N", help="Tokens from window to window.", show_default="half of one"),
]
LikeName = Annotated[Like, Option("--like", help="Whose windows; see above.")]
MaxTokens = Annotated[
    int | None,
    Option(min=1, parser=parse_count, metavar="N", help="Begin no record after so many are scored."),
]


@with_flag_groups
def ppl(
    ctx: typer.Context,
    *,
    model: flags.Model,
    inputs: flags.Inputs = None,
    tokenizer: TokenizerPath = None,
    field: flags.Field = PplConfig.field,
    window: Window = None,
    stride: Stride = None,
    like: LikeName = PplConfig.like,
    max_tokens: MaxTokens = None,
    per_record: flags.PerRecord = None,
    fail_above: flags.FailAbove = None,
    baseline: flags.Baseline = None,
    running: flags.Running,
    batch: Batch = None,
    told: flags.Told,
) -> None:
    """Perplexity and bits per byte of documents.

    \b
    Reads   text, jsonl with text or messages, folders; each document by itself
    Writes  perplexity with its interval, bits per byte; per record: index, id,
            tokens, scored_tokens, bytes, nll, perplexity, bits_per_byte

    Each token is scored once, after the tokens of its window: windows overlap as in
    transformers' guide. --like llama.cpp does as llama-perplexity: one text in chunks
    side by side, the second half of each scored, and bos in the place of a chunk's
    first token if the tokenizer puts one before a text.

    The interval takes records to be independent of each other, or windows where there
    are fewer than ten records, or tokens where there is one window. perplexity_error,
    llama.cpp's, always takes tokens to be.

    \b
    Examples:
      llmkit eval ppl run valid.txt --json
      llmkit eval ppl run valid.txt --like llama.cpp --window 32
      llmkit eval ppl run docs.jsonl --per-record ppl.jsonl --fail-above 1e6
    """
    from llmkit.commands.eval.text import ppl_text
    from llmkit.workflows.eval.gates import check_limit
    from llmkit.workflows.eval.ppl import SCHEMA, eval_ppl

    paths: list[Path] = inputs_or_stdin(inputs, "llmkit eval ppl MODEL FILE")
    before = flags.read_baseline(baseline, SCHEMA, paths, per_record)
    config = PplConfig(window=window, stride=stride, like=like, field=field, max_tokens=max_tokens)
    session: Session = ctx.obj
    chosen = flags.model_options(model, running, tokenizer=tokenizer, batch=batch, plans=told.dry_run)
    evaluate = partial(
        eval_ppl, chosen, paths, config, per_record=per_record, force=told.force, before=before
    )
    report = flags.evaluated(session, evaluate, "scoring", ppl_text, told)
    if report is None:
        return
    check_limit(report.headline, fail_above, "--fail-above")
    flags.hold_to_baseline(session, report, before)
