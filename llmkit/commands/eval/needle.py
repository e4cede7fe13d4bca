"""llmkit eval needle: what a model finds in contexts of growing length."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.bench.flags import expand_sizes, list_of
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import Batch, TokenizerPath
from llmkit.commands.shared import Seed
from llmkit.commands.values import parse_count, parse_share
from llmkit.errors import GateFailed, UsageError
from llmkit.formats.amount_text import plural
from llmkit.probe.evaluate.tasks_config import NeedleConfig

Default = NeedleConfig
_TASKS = ",".join(Default.tasks)
Tasks = Annotated[str, Option("--tasks", metavar="LIST", help="See above; ruler: all eleven of RULER's.")]
Lengths = Annotated[
    str | None,
    Option(
        "--lengths", metavar="LIST", parser=list_of(expand_sizes), help="Tokens: 1k,2k or 1Ki-32Ki*2.",
        show_default="1/8, 1/4, 1/2 of the context, all of it",
    ),
]  # fmt: skip
Samples = Annotated[int, Option("--samples", min=1, metavar="N", help="Prompts of each cell.")]
Haystack = Annotated[
    Path | None, Option("--haystack", metavar="FILE", help="A text to hide it in.", show_default="noise")
]
NeedleText = Annotated[
    str | None, Option("--needle", metavar="TEXT", help="Of the task needle; {key}, {value} are drawn.")
]
Question = Annotated[str | None, Option("--question", metavar="TEXT", help="What stands behind the text.")]
Answer = Annotated[
    list[str] | None, Option("--answer", metavar="TEXT", help="What the answer must have. Repeatable.")
]
Values = Annotated[Literal["words", "numbers", "uuids"], Option("--values", help="What {value} is.")]
Words = Annotated[
    int | None,
    Option("--words", metavar="N", help="Keys and words from the first N only.", show_default="all"),
]
MaxTokens = Annotated[
    int | None, Option("--max-tokens", min=1, metavar="N", help="Of an answer.", show_default="RULER's")
]
Chat = Annotated[bool, Option("--chat", help="Each prompt is a user's message.")]
Threshold = Annotated[
    float,
    Option(
        "--threshold",
        parser=parse_share,
        metavar="SHARE",
        help="Score from which a length counts as used: 0.85 or 85%.",
    ),
]
Svg = Annotated[Path | None, Option("--svg", metavar="FILE", help="Write the grid as a picture.")]
Prompts = Annotated[
    Path | None, Option("--prompts", metavar="FILE", help="Only write the prompts, as jsonl; - is stdout.")
]
MinLength = Annotated[
    int | None,
    Option("--min-length", parser=parse_count, metavar="N", help="Exit 1 when less of the context is used."),
]


def parse_depths(text: str) -> tuple[float, ...]:
    """The percents of a comma list.

    Raises:
        UsageError: one is no number.
    """
    try:
        return tuple(dict.fromkeys(float(one) for one in text.split(",")))
    except ValueError:
        raise UsageError(f"--depths {text}: not a list of percents", hint="--depths 0,25,50,75,100") from None


Depths = Annotated[
    str,
    Option(
        "--depths", metavar="LIST", parser=list_of(parse_depths), help="Percent of the hay before the needle."
    ),
]


@with_flag_groups
def needle(
    ctx: typer.Context,
    *,
    model: flags.Model,
    tasks: Tasks = _TASKS,
    lengths: Lengths = None,
    depths: Depths = "0,25,50,75,100",
    samples: Samples = Default.samples,
    haystack: Haystack = None,
    needle: NeedleText = None,
    question: Question = None,
    answer: Answer = None,
    values: Values = Default.values,
    words: Words = None,
    max_tokens: MaxTokens = None,
    chat: Chat = Default.chat,
    threshold: Threshold = Default.threshold / 100,
    seed: Seed = Default.seed,
    svg: Svg = None,
    prompts: Prompts = None,
    min_length: MinLength = None,
    baseline: flags.Baseline = None,
    per_record: flags.PerRecord = None,
    tokenizer: TokenizerPath = None,
    running: flags.Running,
    batch: Batch = None,
    told: flags.Told,
) -> None:
    """Find what is hidden in a long text: how much of its context a model uses.

    \b
    needle             gkamradt's, or yours: --needle --question --answer,
                       --values and --words; in --haystack or noise
    niah_single_1      a number in noise (RULER, arXiv:2404.06654)
    niah_single_2, _3  a number, a uuid in --haystack
    niah_multikey_1    one number of four in --haystack
    niah_multikey_2,_3 one needle among needles: numbers, uuids
    niah_multivalue    four numbers of one key in --haystack
    niah_multiquery    four keys asked for, in --haystack
    vt cwe fwe         variables to track, words to count

    A score is the share of the answers that the text has (string_match_all).
    The effective length is the longest whose mean is --threshold or more. The
    same seed makes the same prompts.

    \b
    Examples:
      llmkit eval needle run --rope-scaling yarn:8 --lengths 512 --samples 1
      llmkit eval needle run --rope-scaling yarn:8 --lengths 512 --prompts p.jsonl
    """
    from llmkit.commands.eval.needle_svg import needle_svg
    from llmkit.commands.eval.needle_text import needle_text
    from llmkit.formats.json_text import printable
    from llmkit.formats.streams import check_output
    from llmkit.workflows.eval.needle import SCHEMA, eval_needle
    from llmkit.workflows.eval.needle_prompts import write_prompts

    config = NeedleConfig(
        tasks=tuple(one.strip() for one in tasks.split(",")),
        lengths=() if lengths is None else expand_sizes(lengths),
        depths=parse_depths(depths),
        samples=samples,
        needle=needle,
        question=question,
        answers=tuple(answer or ()),
        values=values,
        words=words,
        max_tokens=max_tokens,
        chat=chat,
        threshold=round(100 * threshold, 9),  # 29% is 29, and not a little less
        seed=seed,
    )
    chosen = flags.model_options(model, running, tokenizer=tokenizer, batch=batch, plans=told.dry_run)
    session: Session = ctx.obj
    read = [*chosen.paths, *(path for path in (haystack, baseline) if path is not None)]
    check_output(prompts, force=told.force, inputs=read)
    if prompts is not None and not told.dry_run:
        count = write_prompts(chosen, config, prompts, haystack=haystack, force=told.force)
        session.console.note(f"{plural(count, 'prompt')} written to {prompts}")
        return
    before = flags.read_baseline(baseline, SCHEMA, [haystack], per_record)
    check_picture(svg, force=told.force, inputs=read, per_record=per_record)
    evaluate = partial(
        eval_needle, chosen, config, haystack=haystack, per_record=per_record, force=told.force, before=before
    )
    color = session.console.uses_color(sys.stdout)
    report = flags.evaluated(session, evaluate, "searching", partial(needle_text, color=color), told)
    if report is None:
        return
    if svg is not None:
        from llmkit.formats.streams import open_output

        with open_output(svg, force=told.force) as stream:
            stream.write(printable(needle_svg(report)).encode())
    if min_length is not None and (report.effective_length or 0) < min_length:
        raise GateFailed(
            f"effective length {report.effective_length or 'none'}, less than --min-length {min_length:,}",
            hint="the report above is complete; --threshold says what counts as used",
        )
    flags.hold_to_baseline(session, report, before)


def check_picture(path: Path | None, *, force: bool, inputs: Iterable[Path], per_record: Path | None) -> None:
    """Refuse a place for the picture before any work.

    Args:
        path: of the picture.
        force: what is there may be replaced.
        inputs: what is read.
        per_record: where records go.

    Raises:
        UsageError: it is there already and `force` is off, or is stdout, an input, or where records go.
    """
    from llmkit.formats.atomic import refuse_existing
    from llmkit.formats.streams import STDIO

    if path == STDIO:
        raise UsageError("--svg - : stdout has the report", hint="--svg FILE.svg")
    if path is not None:
        if per_record is not None and path.resolve() == per_record.resolve():
            raise UsageError(
                f"--svg and --per-record are both {path}", hint="choose another name for one of them"
            )
        refuse_existing(path, force=force, inputs=inputs, is_file=True)
