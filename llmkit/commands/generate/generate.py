"""llmkit generate: prompts in, text out."""

import sys
from typing import TYPE_CHECKING

import typer

from llmkit.commands import sampling_flags as drawing
from llmkit.commands import tool_flags
from llmkit.commands.base import Session
from llmkit.commands.console import Console
from llmkit.commands.facts import plural
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.generate import flags
from llmkit.commands.generate.explain_text import describe_step
from llmkit.commands.generate.text import describe_plan, print_stats
from llmkit.commands.shared import DryRun, LogEvery, Seed, print_report
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.errors import UsageError
from llmkit.formats.streams import is_terminal
from llmkit.progress import SILENT

if TYPE_CHECKING:
    from llmkit.workflows.generate.files import GenerateFiles
    from llmkit.workflows.generate.generate import GenerateReport


@with_flag_groups
def generate(
    ctx: typer.Context,
    *,
    model: drawing.Model,
    prompts: flags.Prompts,
    tokenizer: drawing.TokenizerPath = None,
    chat: flags.ChatPrompt = GenerateConfig.chat,
    system: flags.System = GenerateConfig.system,
    chat_template_kwargs: drawing.TemplateKwargs = None,
    prefill: flags.Prefill = GenerateConfig.prefill,
    suffix: flags.Suffix = GenerateConfig.suffix,
    allow_special: flags.AllowSpecial = GenerateConfig.allow_special,
    sampling: drawing.Sampling,
    calling: tool_flags.Calling,
    ignore_eos: flags.IgnoreEos = SamplingConfig.ignore_eos,
    seed: Seed = SamplingConfig.seed,
    samples: flags.Samples = SamplingConfig.samples,
    logprobs: flags.Logprobs = None,
    as_json: flags.AsJson = GenerateConfig.as_json,
    explain: flags.ExplainStep = False,
    written: flags.Written,
    running: drawing.Running,
    tp: drawing.Tp = GenerateConfig.tp,
    adapter: drawing.Adapters = None,
    speculation: drawing.Speculation,
    cache: drawing.PromptCache,
    cache_offload: drawing.CacheOffload = GenerateConfig.cache_offload,
    batch: drawing.Batch = GenerateConfig.batch,
    unordered: flags.Unordered = GenerateConfig.unordered,
    records: flags.Records,
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
            typical_p, top_n_sigma, xtc_*, dry_*, adaptive_*, mirostat*,
            *_penalty, logit_bias, json_schema, regex, choice, grammar, stop,
            stop_ids, ignore_eos, seed, samples, logprobs, samplers, prefill,
            suffix, chat_template_kwargs, adapter win over flags; or OpenAI's
            {"custom_id", "method", "url", "body"}
    Writes  the text and a line feed; or each row with completion,
            finish_reason (stop, length), usage, seed, (sample,) (logprobs,)
            (code); a batch row's answer is OpenAI's, an error where a parameter
            is not known or cannot be honoured

    A text ends with the model's end-of-text token or a --stop-id, before --stop,
    after --max-tokens, or where the model's context is full. What looks like a
    special token in a prompt is ordinary text, except in a chat or with
    --allow-special. A row's seed comes from --seed and its id, or from its prompt if
    it has no id. --rope-scaling yarn:4 makes the context of the model four times as
    long. Where no flag says how tokens are drawn, the model's generation_config.json
    does; else they are drawn at temperature 0.8 from all tokens.

    Messages and tools of rows make the same prompt as in a request to serve, and
    what serve refuses is an error. Where a row has tools, the model's calls are part
    of the completion's text; in answers to batch rows they are tool_calls.

    --template FILE (Jinja) makes the prompt of each row, or with --chat the user's
    message, out of the row's keys, and of `record`, the whole row. A key that the row
    does not have is an error.

    --adapter NAME=PATH, repeatable, keeps PEFT adapters beside the model, unmerged:
    a row's "adapter" names the one it wants (null: none), and rows with different
    ones share a batch. A single adapter is used for every text. PATH:0.5 is half its
    strength.

    --prompt-cache FILE keeps the cache of prompts for later runs: of a prompt that
    begins like one before, only the rest is computed. It is written at the end, also
    after Ctrl-C, with what this run used; one of another model or dtype is refused.

    With --suffix (or a row's suffix) the model writes what belongs between the prompt
    and the suffix. It must be trained to fill in the middle, as Qwen2.5-Coder,
    StarCoder and DeepSeek Coder are; its marks are put around both, which are
    ordinary text.

    With --resume records stand in OUT.partial until OUT is whole. After a stop or a
    crash the same line computes only what is missing; a half-written last record is
    written again. Where OUT is whole (.OUT.done beside it says of what), the same line
    does nothing, and succeeds.

    With --tool (which implies --chat) the model may call functions: each call is
    made, its result is added to the conversation, and the model goes on, up to
    --max-calls. --max-tokens counts all texts of an answer together; calls in a text
    that it cut off are not made. PROGRAM reads the arguments as JSON on stdin, writes
    its result as JSON, and prints its schema for --schema. NAME: can be left out. In
    the place of PROGRAM there may be FILE.py:FUNCTION, calculator, sql=DATABASE
    (read-only), search=INDEX, or mcp=COMMAND for all functions of an MCP server. A call
    that fails or is not approved is told to the model as an error. Records have the
    whole conversation in messages, which finetune and --replay read.

    With --json-schema, --regex, --choice or --grammar only tokens that keep to it can
    be drawn: a text whose finish_reason is stop is valid, one that --max-tokens cut
    off may be incomplete. A grammar is llama.cpp's GBNF
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
    session: Session = ctx.obj
    tools = tool_flags.tool_options(session.console, calling)
    config = GenerateConfig(
        sampling=sampling.fields(ignore_eos=ignore_eos, seed=seed, samples=samples, logprobs=logprobs),
        chat=chat or tools is not None,
        system=system,
        template_kwargs=drawing.template_kwargs_of(chat_template_kwargs),
        prefill=prefill,
        suffix=suffix,
        allow_special=allow_special,
        as_json=as_json,
        adapters=tuple(adapter or ()),
        cache_offload=cache_offload,
        unbuffered=unbuffered,
        unordered=unordered,
        batch=batch,
        tp=tp,
        **vars(written),
        **vars(running),
        **vars(speculation),
    )
    words, file, jsonl = prompts.one_of_them()

    from llmkit.workflows.generate.files import GenerateFiles
    from llmkit.workflows.generate.generate import generate_files, plan_generate

    files = GenerateFiles(
        model=model,
        tokenizer=tokenizer,
        prompt=words,
        file=file,
        jsonl=jsonl,
        template=prompts.template,
        tools=tools,
        **vars(records),
        **vars(cache),
    )
    if config.mark_below is not None and not session.console.uses_color(sys.stdout):
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
        report = generate_files(files, config, progress=SILENT if is_terminal(files.out) else progress)
    _note_faults(report, session.console)
    if stats:
        print_stats(report.stats, session.console, as_json=as_json or jsonl is not None)
    speed = report.completion_tokens / report.seconds if report.seconds else 0.0
    session.console.detail(
        f"{plural(report.completion_tokens, 'token')} after {report.prompt_tokens:,} of prompts, "
        f"{speed:,.0f} a second"
    )


def _note_faults(report: "GenerateReport", console: Console) -> None:
    """What was passed over or refused."""
    if report.bad_lines:
        console.note(f"{plural(report.bad_lines, 'bad line')} passed over")
    for note in report.notes:
        console.note(note)
    if report.refused_rows:
        console.note(f"{plural(report.refused_rows, 'row')} refused: the answer says why")


def _explain(files: "GenerateFiles", config: GenerateConfig) -> None:
    """The next token of the one prompt, as a table or as JSON."""
    excluded = {"--jsonl": files.jsonl, "--out": files.out, "--echo": config.echo, "--tool": files.tools}
    excluded |= {"--draft": config.draft != GenerateConfig.draft, "--prompt-cache": files.prompt_cache}
    excluded |= {"--cache-offload": config.cache_offload > 0, "--tp": config.tp > 1}
    drawn = config.sampling
    excluded |= {"--samples": drawn.get("samples", 1) > 1, "--logprobs": "logprobs" in drawn}
    excluded |= {"--require": config.require is not None, "--extract-code": config.extract_code}
    for flag, is_given in excluded.items():
        if is_given:
            raise UsageError(
                f"--explain-step and {flag} exclude each other",
                hint="it draws one token after one prompt, and prints a table",
            )

    from llmkit.workflows.generate.explain_step import explain_step

    print_report(explain_step(files, config), config.as_json, describe_step)
