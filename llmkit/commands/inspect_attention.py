"""llmkit inspect-attention: what heads look at, what they do, and what depends on them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.shared import Force, JsonReport, LogEvery, Seed, print_report
from llmkit.commands.values import parse_count
from llmkit.engine.config import Dtype, GenerateConfig
from llmkit.errors import GateFailed, UsageError
from llmkit.formats.streams import STDIO
from llmkit.probe.attention.config import AblateBy
from llmkit.workflows.inspect_attention.config import (
    InspectFiles,
    InspectText,
    InspectViews,
    Probe,
    parse_heads,
    parse_ids,
    parse_layers,
    parse_range,
)

USAGE = "llmkit inspect-attention run 'def main'"
JSON_CELLS = (256, 256)
LINES = 64
"""Of cells, of a map on a terminal."""


def inspect_attention(
    ctx: typer.Context,
    model: Annotated[Path, Argument(metavar="MODEL", help="Model folder or GGUF file.")],
    text: Annotated[
        str | None, Argument(metavar="TEXT", help="A text, a file (text or jsonl), or - for stdin.")
    ] = None,
    tokens: Annotated[str | None, Option(metavar="IDS", help="Ids in place of a text: 1,17,4.")] = None,
    record: Annotated[
        str | None, Option(metavar="N", help="Of jsonl: a number from 1, or an id; default the first.")
    ] = None,
    field: Annotated[str, Option(metavar="KEY", help="Of jsonl: the text's key.")] = InspectText.field,
    max_tokens: Annotated[
        int | None, Option(min=1, parser=parse_count, metavar="N", help="Cut the text.")
    ] = None,
    probe: Annotated[
        Probe | None, Option(help="A text of random tokens, and the same again.")
    ] = InspectText.probe,
    probe_tokens: Annotated[
        int | None,
        Option(min=2, parser=parse_count, metavar="N", help="How many come twice.", show_default="50"),
    ] = InspectText.probe_tokens,
    seed: Seed = InspectText.seed,
    layers: Annotated[str | None, Option(metavar="LIST", help="Only these, from 0: 0,2-4.")] = None,
    heads: Annotated[str | None, Option(metavar="LIST", help="Only these: 1.0,3.7 (LAYER.HEAD).")] = None,
    query: Annotated[
        str | None, Option(metavar="N", help="What one token looks at: its place, -1 the last, or its text.")
    ] = None,
    show_map: Annotated[bool, Option("--map", help="Draw each head's matrix.")] = InspectViews.map,
    rows: Annotated[str | None, Option(metavar="A:B", help="Queries of maps and files.")] = None,
    cols: Annotated[str | None, Option(metavar="A:B", help="Keys of them.")] = None,
    before_softmax: Annotated[
        bool, Option("--before-softmax", help="Scores in place of weights.")
    ] = InspectViews.before_softmax,
    worked: Annotated[
        bool, Option("--worked", help="One head's arithmetic for --query, step by step.")
    ] = InspectViews.worked,
    lens: Annotated[
        bool, Option("--lens", help="What the model would say after each layer.")
    ] = InspectViews.lens,
    ablate: Annotated[
        str | None, Option(metavar="LIST", help="Take heads out, one at a time: 1.0,3.7, or all.")
    ] = None,
    ablate_by: Annotated[
        AblateBy, Option(help="What stands in a head's place: zero, or its mean over the text.")
    ] = InspectViews.ablate_by,
    attribute: Annotated[
        bool, Option("--attribute", help="A logit in parts: what each head puts in directly.")
    ] = InspectViews.attribute,
    answer: Annotated[
        str | None,
        Option(metavar="TOKEN", help="That these three follow; id:N too.", show_default="the model's"),
    ] = InspectViews.answer,
    diff: Annotated[
        Path | None, Option(metavar="OTHER", help="Another model, or an adapter: which heads moved.")
    ] = InspectViews.diff,
    expect: Annotated[
        list[str] | None,
        Option(metavar="CLASS[:X]", help="Exit 1 where no head is one: induction:0.5. Repeatable."),
    ] = None,
    edges: Annotated[
        Path | None, Option(metavar="FILE", help="Strongest keys of each query, as jsonl; - is stdout.")
    ] = InspectFiles.edges,
    top_k: Annotated[int, Option(min=1, metavar="N", help="Of each query, in --edges.")] = InspectFiles.top_k,
    save: Annotated[
        Path | None, Option("--save", "-o", metavar="FILE", help="Whole matrices, as safetensors.")
    ] = InspectFiles.save,
    html: Annotated[
        Path | None, Option(metavar="FILE", help="A page to look around in; it needs no network.")
    ] = InspectFiles.html,
    svg: Annotated[Path | None, Option(metavar="FILE", help="The maps as a drawing.")] = InspectFiles.svg,
    png: Annotated[Path | None, Option(metavar="FILE", help="The maps as a picture.")] = InspectFiles.png,
    adapter: Annotated[
        str | None, Option(metavar="PATH", help="An adapter in the model: PATH or PATH:STRENGTH.")
    ] = None,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the model's own.")
    ] = None,
    dtype: Annotated[Dtype, Option(help="Of the arithmetic; auto: as stored.")] = GenerateConfig.dtype,
    rope_scaling: Annotated[
        str | None, Option(metavar="KIND:X", help="For texts beyond the model's context: yarn:2.")
    ] = None,
    allow_special: Annotated[
        bool, Option("--allow-special", help="Text that looks like a special token is one.")
    ] = False,
    device: Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")] = "auto",
    threads: Annotated[int | None, Option(min=1, metavar="N", help="CPU threads.")] = None,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Look at what a model's attention heads do with a text.

    Without a view: a table of heads. Figures are exact for texts of any length:
    one layer is in memory at a time, and no matrix is. Heads get a name (sink,
    previous token, duplicate, induction, current token, local, uniform) from
    thresholds that --json states. A jsonl record has "text", "tokens", or
    "messages", which go through the chat template.

    \b
    Examples:
      llmkit inspect-attention run 'def main(self): return self'
      llmkit inspect-attention run --probe induction --probe-tokens 16
      llmkit inspect-attention run docs.jsonl --max-tokens 48 --map --heads 1.0
      llmkit inspect-attention run 'def main' --worked --heads 0.1 --query -1
      llmkit inspect-attention run 'def main' --lens --ablate all --attribute
      llmkit inspect-attention run chat.jsonl --html heads.html --png heads.png
    """
    session: Session = ctx.obj
    if text is None and tokens is None and probe is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no text: give one, name a file, or pipe something in", hint=USAGE)
        text = str(STDIO)
    chosen = InspectText(
        given=text,
        tokens=None if tokens is None else parse_ids(tokens),
        record=record,
        field=field,
        max_tokens=max_tokens,
        probe=probe,
        probe_tokens=probe_tokens,
        seed=seed,
    )
    views = InspectViews(
        layers=None if layers is None else parse_layers(layers),
        heads=None if heads is None else parse_heads(heads),
        query=query,
        rows=None if rows is None else parse_range(rows, "--rows"),
        cols=None if cols is None else parse_range(cols, "--cols"),
        before_softmax=before_softmax,
        map=show_map,
        worked=worked,
        lens=lens,
        answer=answer,
        ablate="all" if ablate == "all" else None if ablate is None else parse_heads(ablate, "--ablate"),
        ablate_by=ablate_by,
        attribute=attribute,
        diff=diff,
        expect=tuple(expect or ()),
    )
    files = InspectFiles(edges=edges, top_k=top_k, save=save, html=html, svg=svg, png=png, force=force)

    from llmkit.commands.inspect_attention_heat import MARGIN
    from llmkit.commands.inspect_attention_text import inspect_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.inspect_attention.inspect_attention import Inspection
    from llmkit.workflows.inspect_attention.inspect_attention import inspect_attention as inspect
    from llmkit.workflows.inspect_attention.open import InspectOptions

    width, color = text_width(), session.console.uses_color(sys.stdout)
    options = InspectOptions(
        model=model,
        tokenizer=tokenizer,
        adapter=adapter,
        dtype=dtype,
        rope_scaling=rope_scaling,
        device=device,
        threads=threads,
        allow_special=allow_special,
    )
    cells = JSON_CELLS if as_json else (LINES, width - MARGIN)
    asked = Inspection(options=options, text=chosen, views=views, files=files, map_cells=cells)
    with session.console.progress("inspecting", log_every=log_every) as progress:
        report = inspect(asked, progress)
    if edges != STDIO:
        print_report(report, as_json, lambda one: inspect_text(one, width=width, color=color))
    missed = [one for one in report.expected or () if not one.heads]
    if missed:
        one = missed[0]
        raise GateFailed(
            f"{model}: no head is {one.expected} from {one.threshold:g} on (best {one.best:.2f})",
            hint="another text, --probe induction, or a lower threshold: CLASS:0.2",
        )
