"""llmkit quantize: a model with its weights rounded to few bits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.quantize import flags
from llmkit.commands.shared import (
    DryRun,
    Force,
    JsonReport,
    LogEvery,
    MaxShardSize,
    Seed,
    fitted,
    given_once,
    print_lines,
    print_report,
)
from llmkit.errors import GateFailed
from llmkit.workflows.quantize.options import QuantizeConfig

if TYPE_CHECKING:
    from llmkit.quant.kv_noise import KVNoise

KV_FORMS = ("int8-token", "q8_0", "q4_0")
"""That --kv-report tries: ours, and llama.cpp's."""


@with_flag_groups
def quantize(
    ctx: typer.Context,
    model: flags.Model,
    output: flags.Output = None,
    out: flags.Out = None,
    kind: flags.Kind = QuantizeConfig.type,
    bits: flags.Bits = None,
    group: flags.Group = QuantizeConfig.group,
    container: flags.Format = QuantizeConfig.container,
    method: flags.Method = QuantizeConfig.method,
    scale: flags.Scale = QuantizeConfig.scale,
    calibration: flags.Calibration = flags.CALIBRATION,
    mixing: flags.Mixing = flags.MIXING,
    questions: flags.Questions = flags.NO_QUESTIONS,
    gates: flags.Gates = flags.NO_GATES,
    tokenizer: flags.TokenizerPath = QuantizeConfig.tokenizer,
    no_tokenizer: flags.NoTokenizer = False,
    max_shard_size: MaxShardSize = QuantizeConfig.max_shard_bytes,
    resume: flags.Resume = QuantizeConfig.resume,
    seed: Seed = QuantizeConfig.seed,
    threads: flags.Threads = QuantizeConfig.threads,
    dry_run: DryRun = False,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Round a model's weights to few bits, and say what it cost.

    With --calibration text the error of each rounding is weighed by what the text
    puts into the matrix, and the weights not yet rounded make up for it. Other rows of
    that text, or --score text, go through both models, for KL divergence and
    perplexity as llama-perplexity defines them (rows of 512, second halves scored).

    --budget-bpw and --fit try several types for every part of the model, and choose
    those that lose least at that size; --sensitivity shows what was found. Where it
    would take too long to try them all, each part is tried in its middle type, on fewer
    tokens, and the loss of the others is estimated from the noise that they add.

    \b
    Reads   a model; documents: text, jsonl with text or messages
    Writes  a GGUF file that llama.cpp opens, or a folder that transformers and
            vLLM open (--format); nothing without OUT

    \b
    Examples:
      llmkit quantize run run-q4.gguf -c corpus.txt --score valid.txt
      llmkit quantize run run-q6.gguf --bits 6 -c corpus.txt --max-kl 0.01
      llmkit quantize run int4 --type int4-g32 -c corpus.txt
      llmkit quantize run run-fit.gguf --budget-bpw 5 -c corpus.txt
      llmkit quantize run -c corpus.txt --sweep 8,6,4 --format gguf
      llmkit quantize run q3.gguf --type Q3_K_M --tensor 'ffn_down=Q4_K' --dry-run
      llmkit quantize run -c corpus.txt --save-imatrix imatrix.gguf
    """
    session: Session = ctx.obj
    config = QuantizeConfig(
        type=kind,
        bits=bits,
        group=group,
        container=container,
        method=method,
        scale=scale,
        **calibration.settings(),
        **mixing.settings(),
        **vars(gates),
        tokenizer=tokenizer,
        carry_tokenizer=not no_tokenizer,
        max_shard_bytes=max_shard_size,
        resume=resume,
        seed=seed,
        threads=threads,
    )
    out = given_once({"OUT": output, "--out": out})
    question = questions.asked(out)
    if questions.save_imatrix is not None:
        _imatrix(session, model, config, questions.save_imatrix, log_every, force=force, as_json=as_json)
        return
    if question is not None:
        _look(session, model, config, question, questions.sweep or "", log_every, as_json=as_json)
        return

    from llmkit.commands.quantize.text import quantize_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.quantize.job import open_quantize
    from llmkit.workflows.quantize.quantize import missed_gate, plan_quantize
    from llmkit.workflows.quantize.quantize import quantize as run

    with session.console.progress("quantizing", log_every=log_every) as progress:
        progress.update(0)  # a long text is read first
        job = open_quantize(model, out, config, force=force, invocation=session.invocation)
        report = (plan_quantize if dry_run else run)(job, progress=progress)
    quiet = session.console.quiet and not dry_run and out is not None
    print_report(report, as_json, lambda one: quantize_text(one, width=text_width()), quiet=quiet)
    missed = missed_gate(job, report.quality)
    if missed is not None:
        raise GateFailed(
            f"{model}: {missed}; nothing was written", hint="more bits, or more calibration text"
        )


def _look(
    session: Session,
    model: Path,
    config: QuantizeConfig,
    question: str,
    bits: str,
    log_every: float,
    *,
    as_json: bool,
) -> None:
    """Rows that say what rounding costs; nothing is written."""
    from llmkit.commands.quantize.text import kv_text, sensitivity_text, sweep_plot
    from llmkit.workflows.quantize.budget import kv_rows, sensitivity_rows
    from llmkit.workflows.quantize.job import open_quantize
    from llmkit.workflows.quantize.quantize import sweep

    configs = [replace(config, bits=one) for one in flags.parse_bits(bits)] if bits else [config]
    tried: set[str] = set()
    jobs = [open_quantize(model, None, one, force=False, invocation=session.invocation) for one in configs]
    with session.console.progress("quantizing", log_every=log_every) as progress:
        if question == "--sweep":
            rows = []
            for row in sweep(jobs, progress=progress):
                print_lines([row])
                rows.append(row)
        elif question == "--sensitivity":
            _print(sensitivity_rows(jobs[0], progress), sensitivity_text, as_json)
        else:
            _print(_noted(kv_rows(jobs[0], KV_FORMS, progress), tried), kv_text, as_json)
    if question == "--kv-report" and (lacking := [one for one in KV_FORMS if one not in tried]):
        session.console.note(f"not tried, as they do not hold this model's cache: {', '.join(lacking)}")
    if question == "--sweep":
        for line in sweep_plot(rows):
            session.console.note(line)


def _noted(rows: Iterable["KVNoise"], tried: set[str]) -> Iterator["KVNoise"]:
    """Rows as they come, and the forms that they are of."""
    for row in rows:
        tried.add(row.form)
        yield row


def _imatrix(
    session: Session,
    model: Path,
    config: QuantizeConfig,
    out: Path,
    log_every: float,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """An importance matrix instead of a model."""
    from llmkit.commands.quantize.text import imatrix_text
    from llmkit.workflows.quantize.imatrix import save_imatrix
    from llmkit.workflows.quantize.job import open_quantize

    job = open_quantize(model, None, config, force=False, invocation=session.invocation)
    with session.console.progress("reading", log_every=log_every) as progress:
        report = save_imatrix(job, out, force=force, progress=progress)
    print_report(report, as_json, imatrix_text, quiet=session.console.quiet)


def _print(rows: Iterable[Any], to_text: Callable[[Sequence[Any]], str], as_json: bool) -> None:
    if as_json:
        print_lines(rows)
    else:
        print(fitted(to_text(list(rows))))
