"""llmkit eval kl: a model beside the one it was made of."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import TokenizerPath
from llmkit.commands.shared import inputs_or_stdin
from llmkit.commands.values import parse_count
from llmkit.probe.evaluate.config import KlConfig

Reference = Annotated[
    Path, Option("--reference", "--ref", "-r", metavar="MODEL", help="The original: folder or GGUF file.")
]
Window = Annotated[
    int | None,
    Option(parser=parse_count, metavar="N", help="Tokens of a chunk.", show_default="512, or the context"),
]
Whole = Annotated[bool, Option("--whole", help="Compare all of a chunk, not its second half.")]
MaxChunks = Annotated[int | None, Option(min=1, metavar="N", help="Stop after so many chunks.")]
MinSameTop = Annotated[
    float | None, Option("--min-same-top", metavar="X", help="Exit 1 when both agree less often.")
]


@with_flag_groups
def kl(
    ctx: typer.Context,
    *,
    model: flags.Model,
    inputs: flags.Inputs = None,
    reference: Reference = ...,  # type: ignore[assignment]
    tokenizer: TokenizerPath = None,
    field: flags.Field = KlConfig.field,
    window: Window = None,
    whole: Whole = KlConfig.whole,
    max_chunks: MaxChunks = None,
    per_record: flags.PerRecord = None,
    fail_above: flags.FailAbove = None,
    min_same_top: MinSameTop = None,
    baseline: flags.Baseline = None,
    running: flags.Running,
    told: flags.Told,
) -> None:
    """KL divergence of a model from another, in lock-step over documents.

    \b
    Reads   text, jsonl with text or messages, folders; end to end, in chunks
    Writes  llama.cpp's figures: mean, percentiles and maximum of the KL
            divergence, same best token, change of p, ratio of perplexities;
            per record: index, id, kld, nll_base, nll, delta_p, same_top, and
            the same of each position

    As in llama-perplexity the second half of each chunk is compared, bos in
    place of its first token where the tokenizer puts one before a text. The
    reference runs as it is stored: --adapter, --dtype, --kv-dtype, --weights,
    --kernels and --rope-scaling are MODEL's, and what they cost can be seen.

    \b
    Examples:
      llmkit eval kl run valid.txt --reference run --max-chunks 2
      llmkit eval kl run valid.txt -r run --weights int8 --fail-above 1 --json
    """
    from llmkit.commands.eval.text import kl_text
    from llmkit.errors import GateFailed
    from llmkit.workflows.eval.gates import check_limit, check_share
    from llmkit.workflows.eval.kl import SCHEMA, eval_kl

    check_share(min_same_top, "--min-same-top")
    paths: list[Path] = inputs_or_stdin(inputs, "llmkit eval kl MODEL FILE --reference OTHER")
    before = flags.read_baseline(baseline, SCHEMA, paths, per_record)
    config = KlConfig(window=window, whole=whole, field=field, max_chunks=max_chunks)
    session: Session = ctx.obj
    chosen = flags.model_options(model, running, tokenizer=tokenizer, plans=told.dry_run)
    evaluate = partial(
        eval_kl, chosen, reference, paths, config, per_record=per_record, force=told.force, before=before
    )
    report = flags.evaluated(session, evaluate, "comparing", kl_text, told)
    if report is None:
        return
    check_limit(report.headline, fail_above, "--fail-above")
    if min_same_top is not None and report.quality.same_top < min_same_top:
        raise GateFailed(
            f"same best token {report.quality.same_top:.4f}, less than --min-same-top {min_same_top:g}",
            hint="the report above is complete",
        )
    flags.hold_to_baseline(session, report, before)
