"""llmkit eval diff: is the second result worse?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from llmkit.commands.shared import JsonReport, Seed, print_report
from llmkit.commands.values import read_share
from llmkit.errors import GateFailed, UsageError
from llmkit.probe.evaluate.config import DiffConfig

if TYPE_CHECKING:
    from llmkit.workflows.eval.increase import Increase

Before = Annotated[Path, Argument(metavar="A", help="Before: a --per-record file, or a --json report.")]
After = Annotated[Path, Argument(metavar="B", help="After, of the same kind.")]
Metric = Annotated[
    str | None,
    Option(
        "--metric",
        metavar="KEY",
        help="Of two files of records: the key to compare.",
        show_default="correct, score, bits_per_byte, nll_per_token, kld",
    ),
]
LowerIsBetter = Annotated[
    bool | None,
    Option(
        "--lower-is-better/--higher-is-better",
        help="Of records: which way is good.",
        show_default="by the name",
    ),
]
Alpha = Annotated[float, Option("--alpha", metavar="P", help="p-values below it count.")]
MaxIncrease = Annotated[
    list[str] | None,
    Option(
        "--max-increase",
        metavar="KEY=SHARE",
        help="Of two reports: exit 1 where this figure grew by more, and not for noise: ppl=2%. Repeatable.",
    ),
]
Common = Annotated[bool, Option("--common", help="Leave out records that only one has.")]


def diff(
    a: Before,
    b: After,
    metric: Metric = None,
    lower_is_better: LowerIsBetter = None,
    alpha: Alpha = DiffConfig.alpha,
    max_increase: MaxIncrease = None,
    common: Common = DiffConfig.common,
    seed: Seed = DiffConfig.seed,
    as_json: JsonReport = False,
) -> None:
    """Compare two results; exit 1 when the second is worse beyond noise.

    \b
    Reads   two --per-record files, whose records are paired by id; or two
            --json reports, whose figures are compared as independent ones
    Writes  the difference, its 95 % interval (paired bootstrap), a p-value

    Both must be of the same texts, put in the same way; models, and how they
    run, may differ. The same goes for --baseline elsewhere.

    Records that are right or wrong: McNemar's exact test. Numbers: Fisher's
    paired randomisation test, exact up to 16 records that differ. The mean of
    records counts each alike, whatever its length; samples of one task count
    as one record, their mean. Reports: shares by Fisher's exact test, others by
    their standard errors; where an error is not known, no difference counts.

    --max-increase KEY=SHARE asks instead how much a figure of two reports grew:
    any number of theirs by its key, QUALITY.KEY where it is inside, ppl and bpb
    for perplexity and bits_per_byte.

    \b
    Examples:
      llmkit eval diff scored.jsonl scored.jsonl
      llmkit eval diff scored.jsonl scored.jsonl --metric nll --alpha 0.01
      llmkit eval diff ppl.json ppl.json --max-increase ppl=2%
    """
    from llmkit.commands.eval.text import diff_text
    from llmkit.workflows.eval.diff import eval_diff

    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha:g}: a p-value is between 0 and 1", hint="--alpha 0.05")
    config = DiffConfig(
        metric=metric,
        lower_is_better=lower_is_better,
        alpha=alpha,
        max_increase=tuple(_increase(one) for one in max_increase or ()),
        common=common,
        seed=seed,
    )
    report = eval_diff(a, b, config)
    print_report(report, as_json, diff_text)
    if report.increases:
        _check(report.increases, a, b)
    elif report.verdict == "worse":
        lost = "the report names the records that lost most; " if report.worst else ""
        raise GateFailed(
            f"{b}: {report.metric} {report.value_b:.6g}, {report.value_a:.6g} in {a}: worse, "
            f"p = {report.p_value:.3g}",
            hint=f"{lost}--alpha says what counts as noise",
        )


def _increase(text: str) -> tuple[str, float]:
    """`ppl=2%` or `ppl=0.02`."""
    key, equals, share = text.partition("=")
    try:
        if key and equals:
            return key, read_share(share)
    except ValueError:
        pass
    raise UsageError(f"--max-increase {text}: no KEY=SHARE", hint="--max-increase ppl=2%")


def _check(increases: "Sequence[Increase]", a: Path, b: Path) -> None:
    """Raise GateFailed where a figure grew by more than it may."""
    beyond = [one for one in increases if not one.increase <= one.most]
    if beyond:
        one = beyond[0]
        raise GateFailed(
            f"{b}: {one.metric} {one.after:.6g}, {one.before:.6g} in {a}: {one.increase:+.2%}, more than "
            f"--max-increase {one.metric}={one.most * 100:g}%",
            hint="the report above is complete",
        )
