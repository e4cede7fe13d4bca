"""llmkit merge: adapters into a base, models into one, and an adapter out of two models."""

from pathlib import Path
from typing import Annotated, get_args

import typer
from typer import Argument, Option

from llmkit.commands.shared import DryRun, Force, JsonReport, LogEvery, Seed, print_report
from llmkit.commands.values import parse_count
from llmkit.errors import GateFailed
from llmkit.formats.provenance import Invocation
from llmkit.model.algebra_method import Method
from llmkit.workflows.merge.options import Dtype, MergeConfig
from llmkit.workflows.scaled_path import parse_scaled_path

_METHODS = ", ".join(get_args(Method))


def merge(
    ctx: typer.Context,
    models: Annotated[
        list[str], Argument(metavar="MODEL", help="Folders or GGUF files; NAME=PATH with --expr.")
    ],
    out: Annotated[Path, Option("--out", "-o", help="Folder to write.")],
    adapter: Annotated[
        list[str] | None,
        Option("--adapter", metavar="PATH[:SCALE]", help="PEFT folder to fold in; repeatable."),
    ] = None,
    into: Annotated[
        str | None,
        Option("--into", metavar="WHAT", help="Of a quantised base: dequantised, or the original's PATH."),
    ] = MergeConfig.into,
    method: Annotated[Method | None, Option("--method", help="How to merge several models.")] = None,
    base: Annotated[
        Path | None, Option("--base", metavar="PATH", help="Common ancestor: all but linear and slerp.")
    ] = MergeConfig.base,
    weight: Annotated[
        list[float] | None,
        Option(
            "--weight", metavar="X", help="Of each model in turn; slerp's t. Default: equal, 1 with --base."
        ),
    ] = None,
    density: Annotated[
        list[float] | None,
        Option("--density", metavar="X", help="Share of a difference kept by ties, dare. [default: 0.5]"),
    ] = None,
    normalize: Annotated[
        bool | None,
        Option("--normalize/--no-normalize", help="Divide by the weights' sum. Default: linear, ties."),
    ] = MergeConfig.normalize,
    scale: Annotated[
        float, Option("--scale", metavar="X", help="Times the merged difference to --base.")
    ] = MergeConfig.scale,
    expression: Annotated[
        str | None, Option("--expr", metavar="TEXT", help="Sum of models, such as 'a + 0.5*(b - base)'.")
    ] = MergeConfig.expression,
    extract: Annotated[
        bool, Option("--extract", help="From BASE and TUNED, the LoRA adapter between them.")
    ] = MergeConfig.extract,
    rank: Annotated[
        int | None, Option("--rank", metavar="N", min=1, help="Of an extracted adapter, at most.")
    ] = MergeConfig.rank,
    energy: Annotated[
        float | None,
        Option("--energy", metavar="X", help="Choose each rank: the lowest that keeps this share."),
    ] = MergeConfig.energy,
    dtype: Annotated[
        Dtype | None, Option("--dtype", help="Of the output; default: the first model's, adapters float32.")
    ] = MergeConfig.dtype,
    max_shard_size: Annotated[
        int, Option("--max-shard-size", metavar="SIZE", parser=parse_count, help="Of a safetensors file.")
    ] = MergeConfig.max_shard_bytes,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the first model's.")
    ] = MergeConfig.tokenizer,
    no_tokenizer: Annotated[bool, Option("--no-tokenizer", help="Leave the tokenizer out.")] = False,
    check: Annotated[
        bool, Option("--check", help="Compare logits with the adapter unmerged; exit 1 when they differ.")
    ] = MergeConfig.check,
    tolerance: Annotated[
        float | None, Option("--tolerance", metavar="X", min=0, help="Largest difference. Default: measured.")
    ] = MergeConfig.tolerance,
    threads: Annotated[
        int | None, Option("--threads", metavar="N", min=1, help="Same bytes for any number. Default: cores.")
    ] = MergeConfig.threads,
    seed: Seed = MergeConfig.seed,
    dry_run: DryRun = False,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Merge adapters into a base, or several models into one.

    Tensors are made one after another: memory is that of a few, not of a model.
    The arithmetic is float32, rounded once to --dtype; quantised weights become
    plain numbers. Shapes, configs and tokenizers are compared before any work.

    \b
    linear      sum of weight * model, divided by the sum of weights
    slerp       from A to B on a great circle, --weight t of the way
    task        base + scale * sum of weight * (model - base)
    ties        the same, of the largest numbers that agree in sign; their mean
    dare        the same as task, of numbers drawn at random, made up for
    dare-ties   dare's numbers, those that agree in sign
    model-stock from the base towards the mean, as far as the models agree

    \b
    Examples:
      llmkit merge --method slerp run run/checkpoints/step-00000005 -o soup
      llmkit merge --expr '0.9*a + 0.2*(b - a)' a=run b=soup -o mixed
      llmkit merge --extract run mixed --rank 8 -o adapter
      llmkit merge run --adapter adapter:0.5 -o merged --check
      llmkit merge run soup --method ties --base mixed --density 0.2 -o t -n
    """
    session, given = ctx.obj, [*models, *(adapter or ()), *([into] if into else ())]
    config = MergeConfig(
        models=tuple(models),
        adapters=tuple(parse_scaled_path(one) for one in adapter or ()),
        method=method,
        expression=expression,
        extract=extract,
        base=base,
        weights=tuple(weight or ()),
        densities=tuple(density or ()),
        normalize=normalize,
        scale=scale,
        seed=seed,
        into=into,
        rank=rank,
        energy=energy,
        dtype=dtype,
        max_shard_bytes=max_shard_size,
        tokenizer=tokenizer,
        carry_tokenizer=not no_tokenizer,
        check=check,
        tolerance=tolerance,
        threads=threads,
    )
    from llmkit.commands.merge_text import merge_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.merge.run import run_merge

    with session.console.progress("merging", log_every=log_every) as progress:
        report = run_merge(
            config,
            out,
            dry_run=dry_run,
            force=force,
            invocation=_portable(session.invocation, given),
            progress=progress,
        )
    print_report(report, as_json, lambda one: merge_text(one, width=text_width()))
    if report.check is not None and not report.check.passed:
        from llmkit.commands.convert_text import check_text

        raise GateFailed(
            f"{out}: {check_text(report.check)}; nothing was written",
            hint="a wider --dtype or a higher --rank, or --tolerance if that is good enough",
        )


def _portable(invocation: Invocation, given: list[str]) -> Invocation:
    """A record without the places of models and adapters: `a=/home/me/run` becomes `a=run`."""
    short = {}
    for text in given:
        name, equals, path = text.partition("=")
        named = bool(equals) and name.isidentifier()
        short[text] = f"{name}={Path(path).name}" if named else Path(text).name or text
    settings = {
        key: [short.get(one, one) for one in value]
        if isinstance(value, list)
        else short.get(str(value), value)
        for key, value in invocation.settings.items()
    }
    return Invocation(invocation.command, settings, tuple(short.get(word, word) for word in invocation.words))
