"""What the subcommands of `llmkit eval` share: flags of the model, of records and gates; and how one runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.sampling_flags import Device, DtypeName, KernelsName, Threads, WeightsName
from llmkit.commands.shared import DryRun, Force, JsonReport, LogEvery, print_report
from llmkit.commands.values import parse_finite
from llmkit.engine.config import GenerateConfig, KVDtype
from llmkit.errors import UsageError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.streams import STDIO

if TYPE_CHECKING:
    from llmkit.workflows.eval.gates import Earlier, Evaluated
    from llmkit.workflows.eval.scorer import ModelOptions

# The model

Model = Annotated[Path, Argument(metavar="MODEL", help="Model folder or GGUF file.")]


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a model runs, and where: flags of one name each."""

    adapter: Annotated[
        str | None,
        Option(
            "--adapter", metavar="PATH[:X]", help="A PEFT folder or GGUF file beside the model, X as strong."
        ),
    ] = None
    dtype: DtypeName = GenerateConfig.dtype
    kv_dtype: Annotated[KVDtype, Option("--kv-dtype", help="Of the cache; auto: as --dtype.")] = (
        GenerateConfig.kv_dtype
    )
    rope_scaling: Annotated[
        str | None,
        Option("--rope-scaling", metavar="TYPE:X", help="yarn:4, linear, …", show_default="the model's"),
    ] = GenerateConfig.rope_scaling
    kernels: KernelsName = GenerateConfig.kernels
    weights: WeightsName = GenerateConfig.weights
    device: Device = GenerateConfig.device
    threads: Threads = GenerateConfig.threads


# Texts

Inputs = Annotated[
    list[Path] | None,
    Argument(metavar="[FILE]...", help="Text, documents, folders; - is stdin."),
]
Field = Annotated[str, Option("--field", metavar="KEY", help="The key that holds a record's text.")]

# Results and gates

PerRecord = Annotated[
    Path | None,
    Option("--per-record", metavar="FILE", help="A line for each record; continued after a stop."),
]
Baseline = Annotated[
    Path | None,
    Option("--baseline", metavar="FILE", help="An earlier --json; exit 1 when worse beyond noise."),
]
FailAbove = Annotated[
    float | None,
    Option("--fail-above", parser=parse_finite, metavar="X", help="Exit 1 when the figure is above."),
]


# One run


class Noted(Protocol):
    """A report that may have something to add."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""


Report = TypeVar("Report", bound=Noted)


def one_file(paths: list[Path], what: str) -> Path:
    """The file of an evaluation that reads one.

    Raises:
        UsageError: there are several; `what` says of what.
    """
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} files of {what}", hint="cat them together")
    return paths[0]


def read_baseline(
    baseline: Path | None, schema: str, inputs: Iterable[Path | None] = (), per_record: Path | None = None
) -> "Earlier | None":
    """The report of --baseline, read before any work.

    Args:
        baseline: None: there is none.
        schema: that it must have.
        inputs: of the run.
        per_record: where the run's records go.

    Raises:
        UsageError: it and an input are both stdin, or the records are to replace it.
        MissingError, DataError: see `read_earlier`.
    """
    from llmkit.workflows.eval.gates import read_earlier

    if baseline is None:
        return None
    if baseline == STDIO and STDIO in inputs:
        raise UsageError("--baseline - and an input are both stdin", hint="name one of them with a path")
    if per_record not in (None, STDIO):
        refuse_existing(per_record, force=True, inputs=[baseline])
    return read_earlier(baseline, schema)


def hold_to_baseline(session: Session, report: "Evaluated", before: "Earlier | None") -> None:
    """Hold a report against that of --baseline; what fails no gate and should be known goes to stderr.

    Raises:
        DataError, GateFailed: see `check_baseline`.
    """
    from llmkit.workflows.eval.gates import check_baseline

    if (note := check_baseline(report, before)) is not None:
        session.console.note(note)


@dataclass(frozen=True, kw_only=True)
class Told:
    """How an evaluation is told."""

    dry_run: DryRun = False
    as_json: JsonReport = False
    force: Force = False
    log_every: LogEvery = 10.0


def evaluated(
    session: Session,
    evaluate: Callable[..., Report],
    doing: str,
    to_text: Callable[[Report], str],
    told: Told,
) -> Report | None:
    """Run an evaluation and print its report, then its notes; or print what it would take.

    Args:
        session: whose console tells them.
        evaluate: takes `progress`; its model's options have `plans` where a dry run is asked for.
        doing: what progress is called.
        to_text: the report for people.
        told: how.

    Returns:
        The report; None of a plan.
    """
    if told.dry_run:
        show_plan(evaluate, as_json=told.as_json)
        return None
    with session.console.progress(doing, log_every=told.log_every) as progress:
        report = evaluate(progress=progress)
    print_report(report, told.as_json, to_text)
    for note in report.notes:
        session.console.note(note)
    return report


def show_plan(evaluate: Callable[[], Any], *, as_json: bool) -> None:
    """Print what an evaluation would take; its model's options have `plans`."""
    from llmkit.commands.eval.text import eval_plan_text
    from llmkit.workflows.eval.plan import plan_eval

    print_report(plan_eval(evaluate), as_json, eval_plan_text)


def model_options(model: Path, running: Running, **given: Any) -> "ModelOptions":
    """Flags as the options of `open_scorer`."""
    from llmkit.workflows.eval.scorer import ModelOptions

    return ModelOptions(model=model, **vars(running), **given)
