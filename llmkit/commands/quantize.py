"""llmkit quantize: a model with its weights rounded to few bits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.shared import DryRun, Force, JsonReport, LogEvery, Seed, print_lines, print_report
from llmkit.commands.values import parse_count
from llmkit.errors import GateFailed, UsageError
from llmkit.workflows.quantize.options import Container, Method, QuantizeConfig

KV_FORMS = ("int8-token", "q8_0", "q4_0")
"""That --kv-report tries: ours, and llama.cpp's."""


def quantize(
    ctx: typer.Context,
    model: Annotated[Path, Argument(metavar="IN", help="Model folder or GGUF file of plain numbers.")],
    out: Annotated[
        Path | None, Argument(metavar="OUT", help="Folder, or NAME.gguf; without it nothing is written.")
    ] = None,
    kind: Annotated[
        str | None,
        Option("--type", metavar="NAME", help="Q4_K_M, Q6_K, …; or int4-g128, …", show_default="by --bits"),
    ] = QuantizeConfig.type,
    bits: Annotated[
        int | None, Option(metavar="N", help="The container's usual type of so many.", show_default="4")
    ] = None,
    container: Annotated[
        Container | None, Option("--format", help="Default: gguf by OUT's suffix, else compressed-tensors.")
    ] = QuantizeConfig.container,
    method: Annotated[
        Method, Option("--method", help="nearest; feedback makes up for each error (GPTQ).")
    ] = QuantizeConfig.method,
    scale: Annotated[
        bool, Option("--scale", help="Scale columns by what they read, norms take the inverse (AWQ).")
    ] = QuantizeConfig.scale,
    calibration: Annotated[
        list[Path] | None,
        Option("--calibration", "-c", metavar="FILE", help="Text to weigh errors by; -: stdin. Repeatable."),
    ] = None,
    calibration_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Of it, drawn from all over.")
    ] = QuantizeConfig.calibration_tokens,
    imatrix: Annotated[
        Path | None, Option(metavar="FILE", help="llama.cpp's importance matrix in place of that text.")
    ] = QuantizeConfig.imatrix,
    score: Annotated[
        list[Path] | None,
        Option(metavar="FILE", help="Text to score; default: other rows of --calibration. Repeatable."),
    ] = None,
    score_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Of it.")
    ] = QuantizeConfig.score_tokens,
    seq_len: Annotated[
        int, Option(min=8, parser=parse_count, metavar="N", help="Tokens of a row of text.")
    ] = QuantizeConfig.seq_len,
    embeddings: Annotated[
        str | None, Option(metavar="NAME", help="Type of the embedding.", show_default="by the type's rule")
    ] = QuantizeConfig.embeddings,
    head: Annotated[
        str | None, Option(metavar="NAME", help="Type of the head.", show_default="by the type's rule")
    ] = QuantizeConfig.head,
    tensor: Annotated[
        list[str] | None, Option(metavar="REGEX=NAME", help="Type of matrices by name. Repeatable.")
    ] = None,
    budget_bpw: Annotated[
        float | None, Option(metavar="X", min=0, help="Bits a weight: types by measured sensitivity.")
    ] = QuantizeConfig.budget_bpw,
    fit: Annotated[
        int | None, Option(parser=parse_count, metavar="SIZE", help="The same, by the size of the files.")
    ] = QuantizeConfig.fit_bytes,
    sensitivity: Annotated[
        bool, Option("--sensitivity", help="Show what rounding each part alone costs; write nothing.")
    ] = False,
    kv_report: Annotated[
        bool, Option("--kv-report", help="Show what 8 and 4 bits for keys and values cost; write nothing.")
    ] = False,
    save_imatrix: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write what --calibration puts in for llama-quantize; no model."),
    ] = None,
    sweep: Annotated[
        str | None, Option(metavar="LIST", help="A row (jsonl) for each of so many --bits: 8,6,5,4,3.")
    ] = None,
    max_kl: Annotated[
        float | None, Option(metavar="X", min=0, help="Exit 1, nothing written, above this KL divergence.")
    ] = QuantizeConfig.max_kl,
    max_ppl_increase: Annotated[
        float | None, Option(metavar="X", min=0, help="The same for perplexity: 0.01 is 1 % more.")
    ] = QuantizeConfig.max_ppl_increase,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the model's own.")
    ] = QuantizeConfig.tokenizer,
    resume: Annotated[
        bool, Option("--resume", help="Keep what is rounded when stopped, and go on from it.")
    ] = QuantizeConfig.resume,
    seed: Seed = QuantizeConfig.seed,
    threads: Annotated[
        int | None, Option(min=1, metavar="N", help="Cores to use.", show_default="all")
    ] = QuantizeConfig.threads,
    dry_run: DryRun = False,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Round a model's weights to few bits, and say what it cost.

    With --calibration text each error is weighed by what the text puts into the
    matrix, and made up for in the weights not yet rounded. Other rows of that
    text, or --score text, go through both models: KL divergence and perplexity
    as llama-perplexity defines them (rows of 512, second halves scored).

    --budget-bpw and --fit try every part of the model on several types, and choose
    those that lose least at that size; --sensitivity shows what was found. Where
    all trials would be too much work, each part is tried on its middle type over
    fewer tokens, and the others are told from how much noise they add.

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
        container=container,
        method=method,
        scale=scale,
        imatrix=imatrix,
        calibration=tuple(calibration or ()),
        calibration_tokens=calibration_tokens,
        score=tuple(score or ()),
        score_tokens=score_tokens,
        seq_len=seq_len,
        embeddings=embeddings,
        head=head,
        overrides=tuple(map(parse_override, tensor or ())),
        budget_bpw=budget_bpw,
        fit_bytes=fit,
        max_kl=max_kl,
        max_ppl_increase=max_ppl_increase,
        tokenizer=tokenizer,
        resume=resume,
        seed=seed,
        threads=threads,
    )
    looks = {"--sensitivity": sensitivity, "--kv-report": kv_report, "--sweep": sweep is not None}
    looks["--save-imatrix"] = save_imatrix is not None
    asked = [flag for flag, given in looks.items() if given]
    if len(asked) > 1 or (asked and out is not None):
        raise UsageError(
            f"{asked[0]} writes no model"
            if out is not None
            else f"{asked[0]} and {asked[1]} are two questions",
            hint="leave OUT out; --format names its kind" if out is not None else "ask one of them",
        )
    if asked:
        if save_imatrix is not None:
            _imatrix(session, model, config, save_imatrix, log_every, force=force, as_json=as_json)
        else:
            _look(session, model, config, asked[0], sweep or "", log_every, as_json=as_json)
        return

    from llmkit.commands.quantize_text import quantize_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.quantize.job import open_quantize
    from llmkit.workflows.quantize.quantize import missed_gate, plan_quantize
    from llmkit.workflows.quantize.quantize import quantize as run

    with session.console.progress("quantizing", log_every=log_every) as progress:
        progress.update(0)  # a long text is read first
        job = open_quantize(model, out, config, force=force, invocation=session.invocation)
        report = (plan_quantize if dry_run else run)(job, progress=progress)
    print_report(report, as_json, lambda one: quantize_text(one, width=text_width()))
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
    from llmkit.commands.quantize_text import kv_text, sensitivity_text, sweep_plot
    from llmkit.workflows.quantize.budget import kv_rows, sensitivity_rows
    from llmkit.workflows.quantize.job import open_quantize
    from llmkit.workflows.quantize.quantize import sweep

    configs = [replace(config, bits=one) for one in parse_bits(bits)] if bits else [config]
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
            _print(kv_rows(jobs[0], KV_FORMS, progress), kv_text, as_json)
    if question == "--sweep":
        for line in sweep_plot(rows):
            session.console.note(line)


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
    from llmkit.commands.quantize_text import imatrix_text
    from llmkit.workflows.quantize.imatrix import save_imatrix
    from llmkit.workflows.quantize.job import open_quantize

    job = open_quantize(model, None, config, force=False, invocation=session.invocation)
    with session.console.progress("reading", log_every=log_every) as progress:
        report = save_imatrix(job, out, force=force, progress=progress)
    print_report(report, as_json, imatrix_text)


def _print(rows: Iterable[Any], to_text: Callable[[Sequence[Any]], str], as_json: bool) -> None:
    if as_json:
        print_lines(rows)
    else:
        print(to_text(list(rows)))


def parse_bits(text: str) -> list[int]:
    """`8,6,4`.

    Raises:
        UsageError: not of this form.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--sweep {text!r} is no list of bits", hint="--sweep 8,6,5,4,3") from None


def parse_override(text: str) -> tuple[str, str]:
    """`ffn_down=Q6_K`: a pattern of names, and a type.

    Raises:
        UsageError: not of this form.
    """
    pattern, equals, name = text.rpartition("=")
    if not equals or not pattern or not name:
        raise UsageError(f"--tensor {text!r} is not of the form REGEX=NAME", hint="--tensor 'ffn_down=Q6_K'")
    return pattern, name
