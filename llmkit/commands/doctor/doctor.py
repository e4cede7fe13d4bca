"""llmkit doctor: check the machine, or artefacts and whether they belong together."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from llmkit.commands.shared import JsonReport, LogEvery, print_report
from llmkit.errors import GateFailed


def doctor(
    ctx: typer.Context,
    paths: Annotated[
        list[Path] | None, Argument(metavar="[PATHS]...", help="Artefacts of any kind; none: the machine.")
    ] = None,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Check the machine, or artefacts and whether they belong together.

    Exit status 1 when there is an error or a warning; 0 when there is nothing, or only information.

    \b
    Examples:
      llmkit doctor
      llmkit doctor tok shards run
      llmkit doctor run --json
    """
    from llmkit.commands.doctor.text import doctor_text, verdict
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.doctor.doctor import diagnose

    with ctx.obj.console.progress("checking", log_every=log_every) as progress:
        report = diagnose(paths or [], progress=progress)
    print_report(report, as_json, lambda one: doctor_text(one, width=text_width()))
    if not report.passed:
        raise GateFailed(verdict(report), hint="each finding above names what to do")
