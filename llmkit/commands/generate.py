"""llmkit generate: prompts in, text out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.explain_text import describe_step
from llmkit.commands.facts import plural
from llmkit.commands.generate_text import describe_plan
from llmkit.commands.sampling_flags import (
    Choice,
    Default,
    Device,
    DtypeName,
    FrequencyPenalty,
    Greedy,
    JsonSchema,
    KernelsName,
    LogitBias,
    MaxTokens,
    MinP,
    PresencePenalty,
    Regex,
    RepetitionPenalty,
    RopeScaling,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
    TypicalP,
    WeightsName,
    sampling_fields,
)
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
from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.formats.streams import STDIO, is_terminal
from llmkit.progress import SILENT

if TYPE_CHECKING:
    from llmkit.workflows.generate_job import GenerateFiles

USAGE = "llmkit generate -m MODEL 'PROMPT', or … | llmkit generate -m MODEL"


def generate(
    ctx: typer.Context,
    text: Annotated[
        str | None, Argument(metavar="PROMPT", help="What the text goes on from; - is stdin.")
    ] = None,
    model: Annotated[Path, Option("--model", "-m", metavar="PATH", help="Model folder or GGUF file.")] = ...,  # type: ignore[assignment]
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
    max_tokens: MaxTokens = Default.max_tokens,
    greedy: Greedy = False,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    typical_p: TypicalP = None,
    repetition_penalty: RepetitionPenalty = None,
    presence_penalty: PresencePenalty = Default.presence_penalty,
    frequency_penalty: FrequencyPenalty = Default.frequency_penalty,
    logit_bias: LogitBias = None,
    json_schema: JsonSchema = None,
    regex: Regex = None,
    choice: Choice = None,
    stop: Stop = None,
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
    explain: Annotated[
        bool, Option("--explain-step", help="Show how the next token is drawn, step by step.")
    ] = False,
    echo: Annotated[bool, Option("--echo", help="Write the prompt before the text.")] = GenerateConfig.echo,
    require: Annotated[
        str | None, Option(metavar="REGEX", help="Exit 1 where a text does not match.")
    ] = GenerateConfig.require,
    dtype: DtypeName = GenerateConfig.dtype,
    rope_scaling: RopeScaling = GenerateConfig.rope_scaling,
    kernels: KernelsName = GenerateConfig.kernels,
    weights: WeightsName = GenerateConfig.weights,
    device: Device = GenerateConfig.device,
    threads: Threads = GenerateConfig.threads,
    batch: Annotated[
        int | None,
        Option(min=1, metavar="N", help="Texts at work at once.", show_default="16, or what memory allows"),
    ] = GenerateConfig.batch,
    unordered: Annotated[
        bool, Option("--unordered", help="With --jsonl: each record as soon as it is complete.")
    ] = GenerateConfig.unordered,
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
            typical_p, *_penalty, logit_bias, json_schema, regex, choice, stop,
            ignore_eos, seed, samples, logprobs win over flags
    Writes  the text and a line feed; or each row with completion,
            finish_reason (stop, length), usage, seed, (sample,) (logprobs)

    A text ends with a token that ends texts, before --stop, after --max-tokens,
    or where the model's context ends. What looks like a special token in a
    prompt is ordinary text, except in a chat or with --allow-special. A row's
    seed comes from --seed and its id, or from its prompt if it has no id.
    --rope-scaling yarn:4 makes the context of the model four times as long.

    With --json-schema, --regex or --choice no other token can be drawn than one
    that goes on as asked: a text whose finish_reason is stop is valid, one that
    --max-tokens cuts may be incomplete. Needs pip install 'llmkit[grammar]'.

    \b
    Examples:
      llmkit generate -m run 'def main' --max-tokens 20
      llmkit generate -m run --chat 'Hi' --greedy --stop $'\\n'
      llmkit generate -m run --jsonl prompts.jsonl --samples 2 -o texts.jsonl
      llmkit generate -m run 'class Test' --logprobs 3 --json
      llmkit generate -m run 'year = ' --regex '[12][0-9]{3}' --explain-step
      echo 'import' | llmkit generate -m run --temperature 0.5 --top-p 0.9
    """
    given = sampling_fields(
        max_tokens=max_tokens, greedy=greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        typical_p=typical_p, repetition_penalty=repetition_penalty, presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty, logit_bias=logit_bias, json_schema=json_schema, regex=regex,
        choice=choice, stop=stop, ignore_eos=ignore_eos, seed=seed, samples=samples, logprobs=logprobs,
    )  # fmt: skip
    config = GenerateConfig(
        sampling=given,
        chat=chat,
        system=system,
        allow_special=allow_special,
        echo=echo,
        require=require,
        as_json=as_json,
        dtype=dtype,
        rope_scaling=rope_scaling,
        kernels=kernels,
        weights=weights,
        device=device,
        threads=threads,
        unbuffered=unbuffered,
        unordered=unordered,
        batch=batch,
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
    if explain:
        _explain(files, config)
        return
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


def _explain(files: "GenerateFiles", config: GenerateConfig) -> None:
    """The next token of the one prompt, as a table or as JSON."""
    for flag, is_given in {"--jsonl": files.jsonl, "--out": files.out, "--echo": config.echo}.items():
        if is_given:
            raise UsageError(
                f"--explain-step and {flag} exclude each other",
                hint="it takes one prompt, and prints a table",
            )

    from llmkit.workflows.explain_step import explain_step

    print_report(explain_step(files, config), config.as_json, describe_step)
