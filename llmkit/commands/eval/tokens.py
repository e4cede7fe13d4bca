"""llmkit eval tokens: what the model thought of each token."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import Batch, TokenizerPath
from llmkit.commands.shared import DryRun, JsonReport, LogEvery, inputs_or_stdin, print_lines, print_report
from llmkit.commands.values import parse_count, parse_finite
from llmkit.errors import UsageError
from llmkit.formats.documents import names_file
from llmkit.formats.streams import STDIO
from llmkit.formats.text_file import read_text_file
from llmkit.probe.evaluate.config import Confidence, TokensConfig, View

if TYPE_CHECKING:
    from llmkit.workflows.eval.scorer import ModelOptions

Text = Annotated[
    str | None, Argument(metavar="[TEXT|FILE]", help="A file if there is one of that name; - is stdin.")
]
Jsonl = Annotated[bool, Option("--jsonl", help="A line for each record, as it is done.")]
ViewName = Annotated[View, Option("--view", help="auto: text where there is colour.")]
Top = Annotated[int, Option("--top", min=0, max=1000, metavar="N", help="Alternatives at each place.")]
Generate = Annotated[
    int, Option("--generate", parser=parse_count, metavar="N", help="Also write N tokens, and score them.")
]
Chat = Annotated[bool, Option("--chat", help="A bare text is a user's message.")]
Context = Annotated[
    str | None,
    Option("--context", metavar="TEXT|FILE", help="How much does this passage raise the answer?"),
]
Threshold = Annotated[
    float | None,
    Option(
        "--threshold", metavar="P", help="Mark tokens below it.", show_default="the calibration's, or 0.1"
    ),
]
CalibrationFile = Annotated[
    Path | None, Option("--calibration", metavar="FILE", help="Mark by what --calibrate --json wrote.")
]
Calibrate = Annotated[
    Path | None, Option("--calibrate", metavar="FILE", help="Report on labelled answers instead.")
]
ConfidenceKind = Annotated[Confidence, Option("--confidence", help="Of an answer, from its tokens'.")]
Bins = Annotated[int, Option("--bins", min=1, max=1000, metavar="N", help="Of the reliability table.")]
KeepAccuracy = Annotated[
    float, Option("--keep-accuracy", metavar="X", help="Share right that the threshold is to reach.")
]
FailAbove = Annotated[
    float | None,
    Option(
        "--fail-above", parser=parse_finite, metavar="X", help="With --calibrate: exit 1 at a higher ECE."
    ),
]


@with_flag_groups
def tokens(
    ctx: typer.Context,
    *,
    model: flags.Model,
    text: Text = None,
    tokenizer: TokenizerPath = None,
    chat: Chat = TokensConfig.chat,
    top: Top = TokensConfig.top,
    generate: Generate = TokensConfig.generate,
    context: Context = None,
    threshold: Threshold = None,
    calibration: CalibrationFile = None,
    calibrate: Calibrate = None,
    confidence: ConfidenceKind = TokensConfig.confidence,
    bins: Bins = TokensConfig.bins,
    keep_accuracy: KeepAccuracy = TokensConfig.keep_accuracy,
    fail_above: FailAbove = None,
    baseline: flags.Baseline = None,
    view: ViewName = "auto",
    running: flags.Running,
    batch: Batch = None,
    jsonl: Jsonl = False,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
    log_every: LogEvery = 10.0,
) -> None:
    """What a model thinks of every token, and where it was not sure.

    \b
    Reads   a text; or jsonl {"text"} {"prompt", "completion"} {"messages"},
            "context" in a record wins over --context
    Writes  the text, coloured by surprise, or a table; --jsonl: each record
            with prompt_logprobs, logprobs (of the answer), summary, spans,
            (grounding): tokens as in generate --logprobs

    \b
    surprisal  -log2 of the probability       rank    1 is the best token
    entropy    of all that could stand here   margin  best less second best

    --context puts a passage before the text, or before the prompt, or the last
    user's words. The gain says how many bits likelier it makes the answer:
    about 0, and the answer was not drawn from it.

    --calibrate reads answers that are labelled "correct": true or false, or
    "wrong": [[start, end], …] in characters: ECE, Brier, reliability, the
    temperature and the threshold that --calibration then marks by.

    \b
    Examples:
      llmkit eval tokens run 'def main():'
      llmkit eval tokens run 'import' --generate 8 --jsonl
      llmkit eval tokens run 'return self' --context 'class A:' --json
    """
    from llmkit.workflows.eval.open import open_scorer
    from llmkit.workflows.eval.tokens import read_marking

    if jsonl and as_json:
        raise UsageError("--json and --jsonl exclude each other", hint="--jsonl: a line for each record")
    session: Session = ctx.obj
    config = TokensConfig(
        top=top, generate=generate, chat=chat, threshold=threshold, context=_passage(context),
        confidence=confidence, bins=bins, keep_accuracy=keep_accuracy,
    )  # fmt: skip
    options = flags.model_options(model, running, tokenizer=tokenizer, batch=batch, plans=dry_run)
    if calibrate is not None:
        excluded = {"TEXT": text is not None, "--generate": generate > 0, "--jsonl": jsonl}
        excluded |= {"--context": context is not None, "--calibration": calibration is not None}
        for flag, given in excluded.items():
            if given:
                raise UsageError(f"--calibrate and {flag} exclude each other", hint="it reads its own file")
        _calibrate(session, options, calibrate, config, baseline, fail_above, log_every, as_json=as_json)
        return
    for flag, value in {"--fail-above": fail_above, "--baseline": baseline}.items():
        if value is not None:
            raise UsageError(f"{flag} does nothing without --calibrate", hint="llmkit eval ppl has gates")
    from llmkit.commands.eval.tokens_text import sample_table, sample_text
    from llmkit.workflows.eval.tokens import score_samples, tokens_report
    from llmkit.workflows.eval.tokens_input import read_samples

    path = _file(text)
    marking = read_marking(calibration, threshold)
    scorer = open_scorer(options)
    if dry_run:
        samples = read_samples(text if path is None else None, path, chat=chat)
        flags.show_plan(lambda: list(score_samples(scorer, samples, config, marking)), as_json=as_json)
        return
    color = session.console.uses_color(sys.stdout)
    with session.console.progress("scoring", log_every=log_every) as progress:
        samples = read_samples(text if path is None else None, path, chat=chat)
        scored = score_samples(scorer, samples, config, marking, progress=progress)
        if jsonl:
            print_lines(one.record() for one in scored)
        elif as_json:
            print_lines([tokens_report(scorer, list(scored), marking)])
        else:
            as_text = color if view == "auto" else view == "text"
            for one in scored:
                lines = sample_text(one, marking, color=color) if as_text else sample_table(one, marking)
                sys.stdout.write(lines + "\n")
    for note in scorer.notes:
        session.console.note(note)


def _calibrate(
    session: Session,
    options: "ModelOptions",
    labelled: Path,
    config: TokensConfig,
    baseline: Path | None,
    fail_above: float | None,
    log_every: float,
    *,
    as_json: bool,
) -> None:
    """The report on labelled answers."""
    from llmkit.commands.eval.tokens_text import calibration_text
    from llmkit.workflows.eval.calibrate import SCHEMA, eval_calibrate
    from llmkit.workflows.eval.gates import check_limit, check_share
    from llmkit.workflows.eval.open import open_scorer

    check_share(config.keep_accuracy, "--keep-accuracy")
    before = flags.read_baseline(baseline, SCHEMA, [labelled])
    scorer = open_scorer(options)
    evaluate = partial(eval_calibrate, scorer, labelled, config, before=before)
    if options.plans:
        flags.show_plan(evaluate, as_json=as_json)
        return
    with session.console.progress("scoring", log_every=log_every) as progress:
        report = evaluate(progress=progress)
    print_report(report, as_json, calibration_text)
    check_limit(report.headline, fail_above, "--fail-above")
    flags.hold_to_baseline(session, report, before)


def _file(text: str | None) -> Path | None:
    """The file that is meant; None: a text."""
    if text is None or text == "-":
        usage = "llmkit eval tokens MODEL 'TEXT', or … | llmkit eval tokens MODEL"
        return inputs_or_stdin(None if text is None else [STDIO], usage)[0]
    return Path(text) if names_file(text) else None


def _passage(context: str | None) -> str | None:
    """A passage as it was given, or what a file of that name holds."""
    if context is None or not names_file(context):
        return context
    return read_text_file(Path(context))
