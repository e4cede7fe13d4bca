"""Flags that the benches share, lists and ranges of sizes, and how every bench ends."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from typer import Argument, BadParameter, Option

from llmkit.commands.base import Session
from llmkit.commands.bench.text import BenchFormat, print_bench
from llmkit.commands.shared import DryRun, LogEvery
from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_share
from llmkit.engine import config as engine
from llmkit.probe.config import AUTO, BenchModelConfig

if TYPE_CHECKING:
    from llmkit.probe.bench import BenchReport

_DTYPES, _WEIGHTS = get_args(engine.Dtype), get_args(engine.Weights)
_PEERS = ("transformers", "llama.cpp")
_MOST_SIZES = 1000
_RANGE = re.compile(r"(?P<first>[^-+*]+)-(?P<last>[^-+*]+)(?:(?P<sign>[+*])(?P<step>[^-+*]+))?")


def expand_sizes(text: str) -> tuple[int, ...]:
    """The numbers of a comma list with ranges: `128,512`, `1-4`, `512-2048+512`, `128-4k*2`; each once.

    Raises:
        BadParameter: not such a list, a range that goes nowhere, or too many numbers.
    """
    sizes: dict[int, None] = {}
    for part in text.split(","):
        sizes |= dict.fromkeys(_range(part))
        if len(sizes) > _MOST_SIZES:
            raise BadParameter(f"{text!r} is more than {_MOST_SIZES} numbers")
    return tuple(sizes)


def expand_threads(text: str) -> tuple[int, ...]:
    """Numbers of threads; none for `auto`.

    Raises:
        BadParameter: see `expand_sizes`; or one is no number of threads.
    """
    found = () if text == AUTO else expand_sizes(text)
    for one in found:
        if not 1 <= one <= MOST_AT_ONCE:
            raise BadParameter(f"{one} is not from 1 to {MOST_AT_ONCE}")
    return found


def expand_dtypes(text: str) -> tuple[str, ...]:
    """The dtypes of a comma list.

    Raises:
        BadParameter: one is unknown.
    """
    return _names(text, _DTYPES)


def expand_weights(text: str) -> tuple[str, ...]:
    """The kinds of weights of a comma list.

    Raises:
        BadParameter: one is unknown.
    """
    return _names(text, _WEIGHTS)


def parse_peer(text: object) -> str:
    """`transformers`, `llama.cpp` or `llama.cpp:PATH`.

    Raises:
        BadParameter: it is none of them.
    """
    text = str(text)  # a settings file may have a number there
    name, separator, path = text.partition(":")
    if name not in _PEERS or (separator and (name != _PEERS[1] or not path)):
        raise BadParameter(f"{text!r} is not one of {', '.join(_PEERS)}, {_PEERS[1]}:PATH")
    return text


def list_of(expand: Callable[[str], object]) -> Callable[[object], str]:
    """A parser that checks a list with `expand` and keeps it as it was typed; TOML may give a real one."""

    def parse(value: object) -> str:
        parts = value if isinstance(value, list | tuple) else [value]
        text = ",".join(map(str, parts))
        expand(text)
        return text

    return parse


def parse_part(text: str | float) -> float:
    """`10%` or `0.1`, and never all of it: nothing is slower by more than that.

    Raises:
        BadParameter: not a share from 0 to below 1.
    """
    value = parse_share(text)
    if value == 1:
        raise BadParameter(f"{text!r} is not below 100%")
    return value


def join(values: tuple[object, ...]) -> str:
    """A default as it would be typed."""
    return ",".join(map(str, values)) or AUTO


Model = Annotated[
    Path | None,
    Argument(metavar="MODEL", help="Model folder or GGUF file, or a config.json with random weights."),
]
Preset = Annotated[str | None, Option("--preset", metavar="NAME", help="Instead: its shape, random weights.")]
Depth = Annotated[
    str,
    Option("--depth", metavar="LIST", parser=list_of(expand_sizes), help="Tokens already in the cache."),
]
Threads = Annotated[
    str,
    Option("--threads", metavar="LIST", parser=list_of(expand_threads), help="auto: as without a bench."),
]
Dtypes = Annotated[
    str,
    Option(
        "--dtype", metavar="LIST", parser=list_of(expand_dtypes), help="float32, bfloat16, float16, auto."
    ),
]
Rounds = Annotated[int, Option("--rounds", min=1, max=10**6, metavar="N", help="Times that each case runs.")]
Weights = Annotated[
    str,
    Option("--weights", metavar="LIST", parser=list_of(expand_weights), help="stored, int8, int4."),
]
KernelsChoice = Annotated[engine.Kernels, Option("--kernels", help="What computes llmkit's cases.")]
Against = Annotated[
    str | None,
    Option(
        "--against",
        metavar="PEER",
        parser=parse_peer,
        help="Run in turns: transformers, llama.cpp, llama.cpp:PATH.",
    ),
]
TransformersAgainst = Annotated[
    str | None, Option("--against", metavar="PEER", parser=parse_peer, help="Run in turns: transformers.")
]
"""Of what llama.cpp has no bench for."""
Baseline = Annotated[
    Path | None, Option("--baseline", metavar="FILE", help="Compare with this earlier --format json.")
]
FailSlower = Annotated[
    float,
    Option("--fail-slower", metavar="SHARE", parser=parse_part, help="Exit 1 when slower than that by more."),
]


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """How a bench is told, and what its figures are held against."""

    bench_format: Annotated[BenchFormat, Option("--format", help="Of the result.")] = "md"
    baseline: Baseline = None
    fail_slower: FailSlower = BenchModelConfig.fail_slower
    require_quiet: Annotated[bool, Option("--require-quiet", help="Exit 5 when the machine is busy.")] = (
        BenchModelConfig.require_quiet
    )
    dry_run: DryRun = False
    log_every: LogEvery = 10.0


def finish(session: Session, report: "BenchReport", reporting: Reporting) -> None:
    """Print a report, say what speaks against it, compare it with a baseline.

    Raises:
        GateFailed: it is slower than the baseline.
        DataError: the baseline is no match for it.
    """
    from llmkit.workflows.bench.report import check_baseline

    print_bench(report, reporting.bench_format)
    if report.noisy:
        has_ratio = any(row.ratio is not None for row in report.rows)
        advice = (
            "read the ratios, not the seconds" if has_ratio else "--against a peer gives ratios that hold"
        )
        session.console.note(f"noisy: {report.noisy}; {advice}")
    if reporting.baseline is not None:
        for name in check_baseline(report, reporting.baseline, reporting.fail_slower):
            session.console.note(f"{reporting.baseline}: has no case {name}")


def _names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise BadParameter(f"{name!r} is not one of {', '.join(known)}")
    return names


def _range(part: str) -> range | list[int]:
    match = _RANGE.fullmatch(part.strip())
    if match is None:
        return [parse_count(part)]
    first, last = parse_count(match["first"]), parse_count(match["last"])
    step = parse_count(match["step"] or "1")
    if first > last:
        raise BadParameter(f"{part!r} goes down")
    if match["sign"] != "*":
        if step < 1:
            raise BadParameter(f"{part!r} never ends")
        return range(first, last + 1, step)[: _MOST_SIZES + 1]
    if step < 2 or first < 1:
        raise BadParameter(f"{part!r} never ends")
    sizes = [first]
    while sizes[-1] * step <= last:
        sizes.append(sizes[-1] * step)
    return sizes
