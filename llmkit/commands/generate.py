"""llmkit generate: prompts in, text out."""

import sys
from typing import TYPE_CHECKING

import typer

from llmkit.commands import generate_flags as flags
from llmkit.commands import sampling_flags as drawing
from llmkit.commands import tool_flags
from llmkit.commands.base import Session
from llmkit.commands.explain_text import describe_step
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.generate_text import describe_plan, print_stats
from llmkit.commands.sampling_flags import Default, sampling_fields
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
    from llmkit.workflows.generate.files import GenerateFiles

USAGE = "llmkit generate -m MODEL 'PROMPT', or … | llmkit generate -m MODEL"


@with_flag_groups
def generate(
    ctx: typer.Context,
    text: flags.Prompt = None,
    model: flags.Model = ...,  # type: ignore[assignment]
    prompt: flags.PromptOption = None,
    file: flags.PromptFile = None,
    jsonl: flags.Rows = None,
    tokenizer: flags.TokenizerPath = None,
    chat: flags.ChatPrompt = GenerateConfig.chat,
    system: flags.System = GenerateConfig.system,
    prefill: flags.Prefill = GenerateConfig.prefill,
    allow_special: flags.AllowSpecial = GenerateConfig.allow_special,
    max_tokens: drawing.MaxTokens = Default.max_tokens,
    greedy: drawing.Greedy = False,
    temperature: drawing.Temperature = None,
    top_k: drawing.TopK = None,
    top_p: drawing.TopP = None,
    min_p: drawing.MinP = None,
    typical_p: drawing.TypicalP = None,
    top_n_sigma: drawing.TopNSigma = Default.top_n_sigma,
    xtc_probability: drawing.XtcProbability = Default.xtc_probability,
    xtc_threshold: drawing.XtcThreshold = Default.xtc_threshold,
    samplers: drawing.Samplers = None,
    repetition_penalty: drawing.RepetitionPenalty = None,
    presence_penalty: drawing.PresencePenalty = Default.presence_penalty,
    frequency_penalty: drawing.FrequencyPenalty = Default.frequency_penalty,
    logit_bias: drawing.LogitBias = None,
    json_schema: drawing.JsonSchema = None,
    regex: drawing.Regex = None,
    choice: drawing.Choice = None,
    grammar: drawing.GrammarText = None,
    stop: drawing.Stop = None,
    stop_id: drawing.StopId = None,
    calling: tool_flags.Calling = tool_flags.NOTHING,
    ignore_eos: flags.IgnoreEos = Default.ignore_eos,
    seed: Seed = Default.seed,
    samples: flags.Samples = Default.samples,
    logprobs: flags.Logprobs = None,
    as_json: flags.AsJson = GenerateConfig.as_json,
    explain: flags.ExplainStep = False,
    echo: flags.Echo = GenerateConfig.echo,
    extract_code: flags.ExtractCode = GenerateConfig.extract_code,
    mark_below: flags.MarkBelow = GenerateConfig.mark_below,
    require: flags.Require = GenerateConfig.require,
    dtype: drawing.DtypeName = GenerateConfig.dtype,
    kv_dtype: drawing.KVDtypeName = GenerateConfig.kv_dtype,
    rope_scaling: drawing.RopeScaling = GenerateConfig.rope_scaling,
    kernels: drawing.KernelsName = GenerateConfig.kernels,
    weights: drawing.WeightsName = GenerateConfig.weights,
    device: drawing.Device = GenerateConfig.device,
    threads: drawing.Threads = GenerateConfig.threads,
    adapter: drawing.Adapters = None,
    draft: drawing.Draft = GenerateConfig.draft,
    draft_tokens: drawing.DraftTokens = GenerateConfig.draft_tokens,
    prompt_cache: drawing.PromptCacheFile = None,
    prompt_cache_read_only: drawing.PromptCacheReadOnly = False,
    cache_offload: drawing.CacheOffload = GenerateConfig.cache_offload,
    batch: flags.Batch = GenerateConfig.batch,
    unordered: flags.Unordered = GenerateConfig.unordered,
    out: flags.Out = None,
    resume: flags.Resume = False,
    force: Force = False,
    skip_bad: SkipBad = False,
    rejects: Rejects = None,
    unbuffered: flags.Unbuffered = GenerateConfig.unbuffered,
    dry_run: DryRun = False,
    stats: flags.Stats = False,
    log_every: LogEvery = 10.0,
) -> None:
    """Write text that goes on from a prompt.

    \b
    Reads   a prompt: PROMPT, a file, stdin (one line feed at its end is left
            out); or rows {"prompt"} {"messages"} {"tokens"}, whose other keys
            pass through and whose max_tokens, temperature, top_k, top_p, min_p,
            typical_p, top_n_sigma, xtc_*, *_penalty, logit_bias, json_schema,
            regex, choice, grammar, stop, stop_ids, ignore_eos, seed, samples,
            logprobs, samplers, prefill, adapter win over flags; or OpenAI's
            {"custom_id", "method", "url", "body"}
    Writes  the text and a line feed; or each row with completion,
            finish_reason (stop, length), usage, seed, (sample,) (logprobs,)
            (code); a batch row's answer is OpenAI's, an error where a parameter
            is not known or cannot be honoured

    A text ends with a token that ends texts or is a --stop-id, before --stop,
    after --max-tokens, or where the model's context ends. What looks like a special token in a
    prompt is ordinary text, except in a chat or with --allow-special. A row's
    seed comes from --seed and its id, or from its prompt if it has no id.
    --rope-scaling yarn:4 makes the context of the model four times as long.

    --adapter NAME=PATH, repeated, puts PEFT adapters beside the model, unmerged
    and batched together: a row's "adapter" names one (null: none); where there
    is one alone every text has it. PATH:0.5 is half its strength.

    --prompt-cache FILE keeps what was read: where a later prompt begins alike,
    only what is new is computed. It is written at the end, Ctrl-C included,
    with what this run used; one made with another model or dtype is refused.

    With --resume records are in OUT.partial until OUT is whole: run the same
    line again after a stop or a crash, and only what is missing is computed. A
    half-written last record is written again.

    With --tool (and so --chat) the model may call functions: its calls are made,
    their results put behind them, and it goes on, up to --max-calls. PROGRAM
    reads the arguments as JSON on stdin, writes its result as JSON, and tells its
    schema by --schema. NAME: can be left out; instead of PROGRAM there may be
    FILE.py:FUNCTION, calculator, sql=DATABASE (read-only), search=INDEX, or
    mcp=COMMAND, all functions of an MCP server. A call that fails or is not
    approved is an error that the model reads. Records have the whole
    conversation in messages, which finetune and --replay read.

    With --json-schema, --regex, --choice or --grammar no other token can be drawn
    than one that goes on as asked: a text whose finish_reason is stop is valid,
    one that --max-tokens cuts may be incomplete. A grammar is llama.cpp's GBNF
    (root ::= …) or llguidance's Lark (start: …), in a file or as it is. Needs
    pip install 'llmkit[grammar]'.

    \b
    Examples:
      llmkit generate -m run 'def main' --max-tokens 20
      llmkit generate -m run --chat 'Hi' --greedy --stop $'\\n'
      llmkit generate -m run --jsonl prompts.jsonl --samples 2 -o texts.jsonl
      llmkit generate -m run 'class Test' --logprobs 3 --json --stats
      llmkit generate -m run 'year = ' --regex '[12][0-9]{3}' --explain-step
      echo 'import' | llmkit generate -m run --temperature 0.5 --top-p 0.9
    """
    given = sampling_fields(
        max_tokens=max_tokens, greedy=greedy, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        top_n_sigma=top_n_sigma, xtc_probability=xtc_probability, xtc_threshold=xtc_threshold,
        typical_p=typical_p, samplers=samplers, repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty, frequency_penalty=frequency_penalty, logit_bias=logit_bias,
        json_schema=json_schema, regex=regex,
        choice=choice, grammar=grammar, stop=stop, stop_ids=stop_id,
        ignore_eos=ignore_eos, seed=seed, samples=samples, logprobs=logprobs,
    )  # fmt: skip
    session: Session = ctx.obj
    tools = tool_flags.tool_options(session.console, calling)
    config = GenerateConfig(
        sampling=given,
        chat=chat or tools is not None,
        system=system,
        prefill=prefill,
        extract_code=extract_code,
        mark_below=mark_below,
        allow_special=allow_special,
        echo=echo,
        require=require,
        as_json=as_json,
        dtype=dtype,
        kv_dtype=kv_dtype,
        rope_scaling=rope_scaling,
        kernels=kernels,
        weights=weights,
        device=device,
        threads=threads,
        adapters=tuple(adapter or ()),
        draft=draft,
        draft_tokens=draft_tokens,
        cache_offload=cache_offload,
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

    from llmkit.workflows.generate.files import GenerateFiles
    from llmkit.workflows.generate.generate import generate_files, plan_generate

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
        resume=resume,
        prompt_cache=prompt_cache,
        prompt_cache_read_only=prompt_cache_read_only,
        tools=tools,
    )
    if mark_below is not None and not session.console.uses_color(sys.stdout):
        raise UsageError(
            "--mark-below marks with colour, and stdout has none",
            hint="--color always, or --json --logprobs 0 for figures",
        )
    if explain:
        _explain(files, config)
        return
    if dry_run:
        print_report(plan_generate(files, config), as_json, describe_plan)
        return
    with tool_flags.watched(session.console, tools, log_every) as progress:
        report = generate_files(files, config, progress=SILENT if is_terminal(out) else progress)
    if report.bad_lines:
        session.console.note(f"{report.bad_lines:,} bad lines passed over")
    for note in report.notes:
        session.console.note(note)
    if report.refused_rows:
        session.console.note(f"{plural(report.refused_rows, 'row')} refused: the answer says why")
    if stats:
        print_stats(report.stats, session.console, as_json=as_json or jsonl is not None)
    speed = report.completion_tokens / report.seconds if report.seconds else 0.0
    session.console.detail(
        f"{plural(report.completion_tokens, 'token')} after {report.prompt_tokens:,} of prompts, "
        f"{speed:,.0f} a second"
    )


def _explain(files: "GenerateFiles", config: GenerateConfig) -> None:
    """The next token of the one prompt, as a table or as JSON."""
    excluded = {"--jsonl": files.jsonl, "--out": files.out, "--echo": config.echo, "--tool": files.tools}
    excluded |= {"--draft": config.draft != GenerateConfig.draft, "--prompt-cache": files.prompt_cache}
    excluded |= {"--cache-offload": config.cache_offload > 0}
    for flag, is_given in excluded.items():
        if is_given:
            raise UsageError(
                f"--explain-step and {flag} exclude each other",
                hint="it draws one token after one prompt, and prints a table",
            )

    from llmkit.workflows.explain_step import explain_step

    print_report(explain_step(files, config), config.as_json, describe_step)
