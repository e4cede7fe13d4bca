"""llmkit inspect-attention: what heads look at, what they do, and what depends on them."""

import sys

import typer

from llmkit.commands import inspect_attention_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import Force, JsonReport, LogEvery, print_report
from llmkit.errors import GateFailed, UsageError
from llmkit.formats.streams import STDIO
from llmkit.workflows.inspect_attention.config import InspectFiles

USAGE = "llmkit inspect-attention run 'def main'"
JSON_CELLS = (256, 256)
LINES = 64
"""Of cells, of a map on a terminal."""


@with_flag_groups
def inspect_attention(
    ctx: typer.Context,
    model: flags.Model,
    text: flags.Text = flags.STDIN,
    views: flags.Views = flags.TABLE,
    files: flags.Files = flags.NO_FILES,
    opening: flags.Opening = flags.AS_STORED,
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
    if not text.is_given and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("no text: give one, name a file, or pipe something in", hint=USAGE)
    chosen, seen = text.config(), views.config()

    from llmkit.commands.inspect_attention_heat import MARGIN
    from llmkit.commands.inspect_attention_text import inspect_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.inspect_attention.inspect_attention import Inspection
    from llmkit.workflows.inspect_attention.inspect_attention import inspect_attention as inspect
    from llmkit.workflows.inspect_attention.open import InspectOptions

    width, color = text_width(), session.console.uses_color(sys.stdout)
    cells = JSON_CELLS if as_json else (LINES, width - MARGIN)
    asked = Inspection(
        options=InspectOptions(model=model, **vars(opening)),
        text=chosen,
        views=seen,
        files=InspectFiles(force=force, **vars(files)),
        map_cells=cells,
    )
    with session.console.progress("inspecting", log_every=log_every) as progress:
        report = inspect(asked, progress)
    if files.edges != STDIO:
        print_report(report, as_json, lambda one: inspect_text(one, width=width, color=color))
    missed = [one for one in report.expected or () if not one.heads]
    if missed:
        one = missed[0]
        raise GateFailed(
            f"{model}: no head is {one.expected} from {one.threshold:g} on (best {one.best:.2f})",
            hint="another text, --probe induction, or a lower threshold: CLASS:0.2",
        )
