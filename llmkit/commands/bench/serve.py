"""llmkit bench serve: load on a server, and how it holds up."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from llmkit.commands.base import Session
from llmkit.commands.bench.flags import Baseline, FailSlower, parse_part
from llmkit.commands.bench.serve_text import failures, print_load
from llmkit.commands.bench.text import BenchFormat, print_work
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import LogEvery, Seed
from llmkit.commands.values import parse_count, parse_seconds
from llmkit.errors import DataError, GateFailed
from llmkit.formats.amount_text import plural
from llmkit.formats.text_file import read_text_file
from llmkit.probe.load_config import BenchServeConfig

if TYPE_CHECKING:
    from llmkit.workflows.bench.serve import BenchServeReport

Default = BenchServeConfig


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When requests begin, and how many."""

    concurrency: Annotated[
        int, Option("--concurrency", "-c", min=1, metavar="N", help="Requests at once.")
    ] = Default.concurrency
    rate: Annotated[
        float | None, Option(metavar="R", help="Instead: so many a second, at random (Poisson).")
    ] = None
    requests: Annotated[
        int | None, Option("--requests", min=1, metavar="N", help="After which none begins.")
    ] = None
    seconds: Annotated[
        float | None, Option(parser=parse_seconds, metavar="TIME", help="After which none begins.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for, and when an answer is a good one."""

    prompt_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Of a made-up prompt, about.")
    ] = Default.prompt_tokens
    max_tokens: Annotated[int, Option(parser=parse_count, metavar="N", help="Written for it.")] = (
        Default.max_tokens
    )
    long_share: Annotated[
        float, Option(parser=parse_part, metavar="SHARE", help="Of the requests, long ones.")
    ] = Default.long_share
    long_prompt_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Of a long prompt, about.")
    ] = Default.long_prompt_tokens
    long_max_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Written for a long one.")
    ] = Default.long_max_tokens
    shared_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="The same at the start of every prompt, about.")
    ] = Default.shared_tokens
    chat: Annotated[bool, Option("--chat", help="Ask as a conversation, not to go on with a text.")] = False
    stream: Annotated[bool, Option(help="Answers as they are written.")] = Default.stream
    ignore_eos: Annotated[
        bool, Option(help="Every text as long as it may be; some servers do not know it.")
    ] = Default.ignore_eos
    ttft_target: Annotated[
        float | None,
        Option(
            parser=parse_seconds, metavar="TIME", help="Goodput: requests whose first text is in by then."
        ),
    ] = None


@with_flag_groups
def serve(
    ctx: typer.Context,
    *,
    url: Annotated[str, Option(metavar="URL", help="Of the server; unix:PATH for a Unix socket.")],
    model: Annotated[
        str | None, Option("--model", "-m", metavar="NAME", help="To ask for.", show_default="its first")
    ] = None,
    api_key_file: Annotated[
        Path | None,
        Option(metavar="FILE", help="Its first line is the server's key; else OPENAI_API_KEY, if set."),
    ] = None,
    pace: Pace,
    prompts: Annotated[
        Path | None,
        Option(
            metavar="FILE.jsonl",
            help='Rows: "prompt" or "messages", "max_tokens" if any; once, or by --requests or --seconds.',
        ),
    ] = None,
    asked: Asked,
    timeout: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="Of a request.")
    ] = Default.timeout_seconds,
    seed: Seed = Default.seed,
    bench_format: Annotated[BenchFormat, Option("--format", help="Of the result.")] = "md",
    baseline: Baseline = None,
    fail_slower: FailSlower = Default.fail_slower,
    dry_run: Annotated[
        bool, Option("--dry-run", "-n", help="Print what would be sent, and send nothing.")
    ] = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Put load on a server that speaks OpenAI's words, and time its answers.

    \b
    With --concurrency the next request begins when one ends: the server sets
    the pace. With --rate requests come as they do from people; where the
    server is too slow, they queue. Tokens are counted by the server. Exit 1
    where a request failed, or where it is slower than --baseline: tokens a
    second, medians of the time to the first text and between two.

    \b
    Examples:
      llmkit bench serve --help
      llmkit bench serve --concurrency 8 --seconds 60 --print-config
    """
    from llmkit.workflows.bench.load_baseline import check_load, read_load
    from llmkit.workflows.bench.serve import bench_serve, plan_load

    earlier = None if baseline is None else read_load(baseline)
    key = os.environ.get("OPENAI_API_KEY") or None
    if api_key_file is not None:
        key = _first_line(api_key_file)
    config = BenchServeConfig(
        **vars(pace), **vars(asked), timeout_seconds=timeout, seed=seed, fail_slower=fail_slower
    )
    if dry_run:
        print_work(plan_load(url, config, model=model, prompts=prompts), bench_format)
        return
    session: Session = ctx.obj
    with session.console.progress("sending", log_every=log_every) as progress:
        report = bench_serve(url, config, model=model, prompts=prompts, api_key=key, progress=progress)
    print_load(report, bench_format)
    _judge(report)
    if earlier is not None:
        check_load(report, earlier, str(baseline), config.fail_slower)


def _judge(report: "BenchServeReport") -> None:
    """Raise GateFailed where a request failed."""
    total = report.rows[-1]
    if total.failed:
        told = ", ".join(failures(total))
        raise GateFailed(
            f"{total.failed} of {plural(total.requests, 'request')} failed ({told})",
            hint="the server's log says why: llmkit serve --log FILE",
        )


def _first_line(path: Path) -> str:
    """A key, of a file with one or several, as `serve --api-key-file` reads them."""
    from llmkit.server.keys import key_lines

    for _, key in key_lines(read_text_file(path)):
        return key
    raise DataError(f"{path}: no key in it", hint="a line with the key, and nothing else")
