"""llmkit diff: whether two artefacts are the same, and where they are not."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.shared import JsonReport, LogEvery, print_report
from llmkit.errors import GateFailed, UsageError, nearest
from llmkit.workflows.diff.options import PARTS, DiffConfig, Part


def diff(
    ctx: typer.Context,
    a: Annotated[Path, Argument(metavar="A", help="A model, adapter, tokenizer, shards, …")],
    b: Annotated[Path, Argument(metavar="B", help="One of the same kind.")],
    only: Annotated[
        str, Option("--only", metavar="PART,...", help=f"Compare only these: {', '.join(PARTS)}.")
    ] = "",
    headers: Annotated[
        bool, Option("--headers", help="Names, shapes and dtypes of tensors; read no value.")
    ] = DiffConfig.headers,
    tensors: Annotated[
        list[str] | None,
        Option("--tensors", metavar="PATTERN", help="Only tensors with such names; repeatable."),
    ] = None,
    atol: Annotated[
        float,
        Option("--atol", metavar="NUMBER", min=0, help="Values differ when |a - b| > ATOL + RTOL * |b|."),
    ] = DiffConfig.atol,
    rtol: Annotated[
        float, Option("--rtol", metavar="NUMBER", min=0, help="See --atol. Both 0: bit for bit.")
    ] = DiffConfig.rtol,
    any_dtype: Annotated[
        bool, Option("--any-dtype", help="Another dtype by itself is no difference.")
    ] = DiffConfig.any_dtype,
    text: Annotated[
        list[Path] | None,
        Option("--text", metavar="FILE", help="Encode these documents with both tokenizers; repeatable."),
    ] = None,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Say whether two artefacts are the same, and where they differ.

    Exit status 1 when they differ. How weights are cut into files makes no
    difference, nor which of transformers' forms a config.json has. Of GGUF files the
    values of the tensors are compared, in float32, and what is said of the model;
    --only tokenizer compares a file's tokenizer with a folder's.

    \b
    Examples:
      llmkit diff tok run --only tokenizer --text docs.jsonl
      llmkit diff run run/checkpoints/step-00000005
      llmkit convert run run.gguf && llmkit diff run run.gguf
      llmkit diff config.json run --only config || test $? = 1
    """
    config = DiffConfig(
        only=_parts(only),
        atol=atol,
        rtol=rtol,
        headers=headers,
        patterns=tuple(tensors or ()),
        any_dtype=any_dtype,
        texts=tuple(text or ()),
    )
    if headers and not config.bit_for_bit:
        raise UsageError(
            "--headers reads no value that --atol and --rtol could judge", hint="give one of them"
        )
    from llmkit.commands.diff.text import diff_text, verdict
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.diff.diff import diff_artefacts

    with ctx.obj.console.progress("comparing", log_every=log_every) as progress:
        report = diff_artefacts(a, b, config, progress=progress)
    print_report(report, as_json, lambda one: diff_text(one, width=text_width()))
    if not report.same:
        raise GateFailed(
            f"{a} and {b} differ: {verdict(report)}",
            hint="--only, --tensors, --atol and --any-dtype narrow what counts",
        )


def _parts(text: str) -> tuple[Part, ...]:
    """`tensors,config` as parts, in the order of PARTS."""
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if word not in PARTS:
            guess = nearest(word, PARTS)
            raise UsageError(
                f"--only {word}: no such part (found {text!r})",
                hint=f"did you mean {guess}?" if guess else f"one or more of {','.join(PARTS)}",
            )
    return tuple(part for part in PARTS if part in words)
