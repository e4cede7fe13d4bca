"""llmkit inspect-attention: what heads look at, what they do, and what depends on them."""

import sys

import typer

from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.inspect_attention import flags
from llmkit.commands.shared import Force, JsonReport, LogEvery, print_lines, print_report
from llmkit.errors import GateFailed, UsageError
from llmkit.formats.streams import STDIO
from llmkit.workflows.inspect_attention.config import InspectFiles

JSON_CELLS = (256, 256)
LINES = 64
"""Of cells, of a map on a terminal."""


@with_flag_groups
def inspect_attention(
    ctx: typer.Context,
    *,
    asked: flags.Asked,
    text: flags.Text,
    views: flags.Views,
    files: flags.Files,
    opening: flags.Opening,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
    as_lines: flags.Jsonl = False,
) -> None:
    """Look at what a model's attention heads do with a text.

    Without a view: a table of heads. Figures are exact for texts of any length:
    one layer is in memory at a time, and no matrix is. Heads get a name (sink,
    previous token, duplicate, induction, current token, local, uniform) from
    thresholds that --json states; --jsonl has a line for each name of a head. A
    jsonl record has "text", "tokens", or "messages", which go through the chat
    template.

    \b
    Examples:
      llmkit inspect-attention run 'def main(self): return self'
      llmkit inspect-attention run --probe induction --probe-tokens 16
      llmkit inspect-attention -m run -p 'a b a b' --jsonl
      llmkit inspect-attention run docs.jsonl --max-tokens 48 --map --heads 1.0
      llmkit inspect-attention run 'def main' --worked --heads 0.1 --query -1
      llmkit inspect-attention run 'def main' --lens --ablate all --attribute
      llmkit inspect-attention run chat.jsonl --html heads.html --png heads.png
    """
    session: Session = ctx.obj
    model, given = asked.model_and_text()
    chosen, seen = text.config(given, is_words=asked.prompt is not None), views.config()
    if as_lines and (as_json or not seen.only_table or files.edges == STDIO):
        raise UsageError("--jsonl is the table of heads, and nothing else", hint="--json has every view")

    from llmkit.commands.inspect_attention.heat import MARGIN
    from llmkit.commands.inspect_attention.text import inspect_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.inspect_attention.inspect_attention import Inspection
    from llmkit.workflows.inspect_attention.inspect_attention import inspect_attention as inspect
    from llmkit.workflows.inspect_attention.open import InspectOptions
    from llmkit.workflows.inspect_attention.report import head_lines

    width, color = text_width(), session.console.uses_color(sys.stdout)
    cells = JSON_CELLS if as_json else (LINES, width - MARGIN)
    inspection = Inspection(
        options=InspectOptions(model=model, **vars(opening)),
        text=chosen,
        views=seen,
        files=InspectFiles(force=force, **vars(files)),
        map_cells=cells,
    )
    with session.console.progress("inspecting", log_every=log_every) as progress:
        report = inspect(inspection, progress)
    if as_lines:
        print_lines(head_lines(report.heads or ()))
    elif files.edges != STDIO:
        print_report(report, as_json, lambda one: inspect_text(one, width=width, color=color))
    missed = [one for one in report.expected or () if not one.heads]
    if missed:
        one = missed[0]
        raise GateFailed(
            f"{model}: no head is {one.expected} from {one.threshold:g} on (best {one.best:.2f})",
            hint="another text, --probe induction, or a lower threshold: CLASS:0.2",
        )
