"""llmkit generate: prompts in, text out."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.facts import plural
from llmkit.commands.generate_text import describe_plan
from llmkit.commands.shared import (
    DryRun,
    Force,
    LogEvery,
    Rejects,
    Seed,
    SkipBad,
    inputs_or_stdin,
    print_report,
)
from llmkit.commands.values import parse_count
from llmkit.engine.config import Dtype, GenerateConfig, SamplingConfig
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO, is_terminal
from llmkit.progress import SILENT

Default = SamplingConfig
USAGE = "llmkit generate -m MODEL 'PROMPT', or … | llmkit generate -m MODEL"


def generate(
    ctx: typer.Context,
    text: Annotated[
        str | None, Argument(metavar="PROMPT", help="What the text goes on from; - is stdin.")
    ] = None,
    model: Annotated[Path, Option("--model", "-m", metavar="PATH", help="Folder of the model.")] = ...,  # type: ignore[assignment]
    prompt: Annotated[
        str | None, Option("--prompt", "-p", metavar="TEXT", help="The prompt, as an option.")
    ] = None,
    file: Annotated[
        Path | None, Option("--file", "-f", metavar="FILE", help="A file that is the prompt; - is stdin.")
    ] = None,
    jsonl: Annotated[
        Path | None, Option("--jsonl", metavar="FILE", help="Rows with prompts; - is stdin.")
    ] = None,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="If the model's folder has none.")
    ] = None,
    chat: Annotated[
        bool, Option("--chat", help="The prompt is a user's message; use the chat template.")
    ] = GenerateConfig.chat,
    system: Annotated[
        str | None, Option(metavar="TEXT", help="A system message for chats that have none.")
    ] = GenerateConfig.system,
    allow_special: Annotated[
        bool, Option("--allow-special", help="Text like <|endoftext|> in a prompt is the token.")
    ] = GenerateConfig.allow_special,
    max_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Tokens at most.")
    ] = Default.max_tokens,
    greedy: Annotated[bool, Option("--greedy", help="The best token always: temperature 0.")] = False,
    temperature: Annotated[
        float | None,
        Option(metavar="X", help="0 is greedy.", show_default=f"the model's, else {Default.temperature}"),
    ] = None,
    top_k: Annotated[
        int | None, Option(metavar="N", help="Only the N best.", show_default="the model's, else 0: off")
    ] = None,
    top_p: Annotated[
        float | None,
        Option(metavar="X", help="The best that sum to X.", show_default="the model's, else 1: off"),
    ] = None,
    min_p: Annotated[
        float | None,
        Option(metavar="X", help="At least X times the best.", show_default="the model's, else 0: off"),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        Option(metavar="X", help="On tokens of prompt and text.", show_default="the model's, else 1: off"),
    ] = None,
    presence_penalty: Annotated[
        float, Option(metavar="X", help="Off the score of tokens in the text.")
    ] = Default.presence_penalty,
    frequency_penalty: Annotated[
        float, Option(metavar="X", help="The same, each time one is there.")
    ] = Default.frequency_penalty,
    stop: Annotated[
        list[str] | None, Option(metavar="TEXT", help="End before this text; repeatable.")
    ] = None,
    ignore_eos: Annotated[
        bool, Option("--ignore-eos", help="Go on after tokens that end a text.")
    ] = Default.ignore_eos,
    seed: Seed = Default.seed,
    samples: Annotated[
        int, Option("--samples", "--n", metavar="N", help="Texts of each prompt.")
    ] = Default.samples,
    logprobs: Annotated[
        int | None, Option(metavar="N", help="With --json: log probabilities, N alternatives.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="A JSON object for each text.")] = GenerateConfig.as_json,
    echo: Annotated[bool, Option("--echo", help="Write the prompt before the text.")] = GenerateConfig.echo,
    require: Annotated[
        str | None, Option(metavar="REGEX", help="Exit 1 where a text does not match.")
    ] = GenerateConfig.require,
    dtype: Annotated[
        Dtype, Option(help="Of weights and arithmetic; auto: as stored.")
    ] = GenerateConfig.dtype,
    device: Annotated[str, Option(metavar="NAME", help="auto, cpu, cuda, cuda:N.")] = GenerateConfig.device,
    threads: Annotated[
        int | None, Option(min=1, metavar="N", help="Cores to use.", show_default="by the model's size")
    ] = GenerateConfig.threads,
    out: Annotated[
        Path | None, Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")
    ] = None,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    unbuffered: Annotated[
        bool, Option("--unbuffered", help="Write each piece at once, as on a terminal.")
    ] = GenerateConfig.unbuffered,
    dry_run: DryRun = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Write text that goes on from a prompt.

    \b
    Reads   a prompt: PROMPT, a file, stdin (one line feed at its end is left
            out); or rows {"prompt"} {"messages"} {"tokens"}, whose other keys
            pass through and whose max_tokens, temperature, top_k, top_p, min_p,
            *_penalty, stop, ignore_eos, seed, samples, logprobs win over flags
    Writes  the text and a line feed; or each row with completion,
            finish_reason (stop, length), usage, seed, (sample,) (logprobs)

    A text ends with a token that ends texts, before --stop, after --max-tokens,
    or where the model's context ends. What looks like a special token in a
    prompt is ordinary text, except in a chat or with --allow-special. A row's
    seed comes from --seed and its id, or from its prompt if it has no id.

    \b
    Examples:
      llmkit generate -m run 'def main' --max-tokens 20
      llmkit generate -m run --chat 'Hi' --greedy --stop $'\\n'
      llmkit generate -m run --jsonl prompts.jsonl --samples 2 -o texts.jsonl
      llmkit generate -m run 'class Test' --logprobs 3 --json
      echo 'import' | llmkit generate -m run --temperature 0.5 --top-p 0.9
    """
    given = {
        "max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty, "stop": tuple(stop or ()) or None,
        "ignore_eos": ignore_eos, "seed": seed, "samples": samples, "logprobs": logprobs,
    }  # fmt: skip
    if greedy and temperature:
        raise UsageError(f"--greedy and --temperature {temperature} exclude each other", hint="give one")
    if greedy:
        given["temperature"] = 0.0
    config = GenerateConfig(
        sampling={name: value for name, value in given.items() if value is not None},
        chat=chat,
        system=system,
        allow_special=allow_special,
        echo=echo,
        require=require,
        as_json=as_json,
        dtype=dtype,
        device=device,
        threads=threads,
        unbuffered=unbuffered,
    )
    sources = {"PROMPT": text, "--prompt": prompt, "--file": file, "--jsonl": jsonl}
    named = [name for name, value in sources.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{named[0]} and {named[1]} are two prompts", hint="give one of them")
    words = prompt if text is None else text
    if words == "-" or not named:
        (file,) = inputs_or_stdin([STDIO] if words == "-" else None, USAGE)
        words = None

    from llmkit.workflows.generate import generate_files, plan_generate
    from llmkit.workflows.generate_job import GenerateFiles

    files = GenerateFiles(
        model=model,
        tokenizer=tokenizer,
        prompt=words,
        file=file,
        jsonl=jsonl,
        out=out,
        force=force,
        skip_bad=skip_bad,
        rejects=rejects,
    )
    session: Session = ctx.obj
    if dry_run:
        print_report(plan_generate(files, config), as_json, describe_plan)
        return
    with session.console.progress("generating", log_every=log_every) as progress:
        report = generate_files(files, config, progress=SILENT if is_terminal(out) else progress)
    if report.bad_lines:
        session.console.note(f"{report.bad_lines:,} bad lines passed over")
    for note in report.notes:
        session.console.note(note)
    speed = report.completion_tokens / report.seconds if report.seconds else 0.0
    session.console.detail(
        f"{plural(report.completion_tokens, 'token')} after {report.prompt_tokens:,} of prompts, "
        f"{speed:,.0f} a second"
    )
