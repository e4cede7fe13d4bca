"""llmkit merge: adapters into a base, models into one, and an adapter out of two models."""

from pathlib import Path

import typer

from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.merge import flags
from llmkit.commands.shared import DryRun, Force, JsonReport, LogEvery, Seed, print_report
from llmkit.errors import GateFailed
from llmkit.formats.provenance import Invocation
from llmkit.workflows.merge.options import MergeConfig
from llmkit.workflows.scaled_path import parse_scaled_path


@with_flag_groups
def merge(
    ctx: typer.Context,
    *,
    models: flags.Models,
    out: flags.Out,
    adapter: flags.Adapters = None,
    into: flags.Into = MergeConfig.into,
    algebra: flags.Algebra,
    extraction: flags.Extraction,
    written: flags.Written,
    check: flags.Check = MergeConfig.check,
    tolerance: flags.Tolerance = MergeConfig.tolerance,
    threads: flags.Threads = MergeConfig.threads,
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
        into=into,
        **algebra.settings(),
        **vars(extraction),
        **written.settings(),
        check=check,
        tolerance=tolerance,
        threads=threads,
        seed=seed,
    )
    from llmkit.commands.merge.text import merge_text
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
    quiet = session.console.quiet and not dry_run
    print_report(report, as_json, lambda one: merge_text(one, width=text_width()), quiet=quiet)
    if report.check is not None and not report.check.passed:
        from llmkit.commands.convert.text import check_text

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
