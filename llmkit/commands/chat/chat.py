"""llmkit chat: a conversation, by hand or line by line from a pipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands import sampling_flags as drawing
from llmkit.commands import tool_flags
from llmkit.commands.base import Session
from llmkit.commands.chat.text import describe_plan
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.shared import DryRun, Force, Seed, print_report
from llmkit.commands.values import parse_count
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.formats.streams import STDIO, is_terminal


@with_flag_groups
def chat(
    ctx: typer.Context,
    *,
    model: drawing.Model,
    turns: Annotated[
        Path | None, Argument(metavar="FILE", help="Whose lines you say, one a turn; - is stdin.")
    ] = None,
    tokenizer: drawing.TokenizerPath = None,
    system: Annotated[
        str | None, Option(metavar="TEXT", help="A system message, unless the transcript has one.")
    ] = GenerateConfig.system,
    chat_template_kwargs: drawing.TemplateKwargs = None,
    context: Annotated[
        int | None,
        Option(
            "--context",
            "-c",
            min=2,
            parser=parse_count,
            metavar="N",
            help="Tokens a conversation may take.",
            show_default="the model's",
        ),
    ] = None,
    transcript: Annotated[
        Path | None, Option(metavar="FILE", help="Keep the conversation here, as jsonl with messages.")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with the transcript's last conversation.")
    ] = False,
    sampling: drawing.Sampling,
    calling: tool_flags.Calling,
    seed: Seed = SamplingConfig.seed,
    as_json: Annotated[bool, Option("--json", help="A JSON object for each reply.")] = False,
    running: drawing.Running,
    adapter: drawing.Adapters = None,
    speculation: drawing.Speculation,
    cache: drawing.PromptCache,
    cache_offload: drawing.CacheOffload = GenerateConfig.cache_offload,
    force: Force = False,
    unbuffered: Annotated[
        bool, Option("--unbuffered", help="Write each piece at once, as on a terminal.")
    ] = GenerateConfig.unbuffered,
    dry_run: DryRun = False,
) -> None:
    """Talk with a model, by hand or line by line from a pipe.

    \b
    Reads   what you type; or each line of FILE or of a pipe as a turn (empty
            lines are passed over, a line that begins with / is data too)
    Writes  each reply and a line feed, or with --json each as a record; with
            --transcript {"messages": [...]}, one line a conversation

    By hand, /help lists what else you can do, and Ctrl-C stops a reply. The cache is
    kept from turn to turn, and with --prompt-cache FILE for a later session too; the
    file is written at the end, also after Ctrl-C. What a model thinks is dimmed where
    there is colour, and kept as it came. When the context is full the oldest turns are
    dropped, never the system message; the transcript keeps them. Where no flag says
    how tokens are drawn, the model's generation_config.json does; else they are drawn
    at temperature 0.8 from all tokens.

    With --tool the model may call functions, each once you allow it (--approve):
    llmkit generate --help says what PROGRAM is and what else can be named. The
    transcript has calls and results too; --replay FILE answers calls with those of a
    transcript.

    \b
    Examples:
      echo 'Hi' | llmkit chat -m run --max-tokens 20
      printf 'Hi\\nWhy?\\n' | llmkit chat -m run --greedy --transcript talk.jsonl
      echo 'And now?' | llmkit chat -m run --transcript talk.jsonl --resume --json
    """
    session: Session = ctx.obj
    tools = tool_flags.tool_options(session.console, calling)
    config = GenerateConfig(
        sampling=sampling.fields(seed=seed),
        chat=True,
        system=system,
        template_kwargs=drawing.template_kwargs_of(chat_template_kwargs),
        adapters=tuple(adapter or ()),
        cache_offload=cache_offload,
        **vars(running),
        **vars(speculation),
    )
    if turns is None and (sys.stdin is None or not sys.stdin.isatty()):
        turns = STDIO

    from llmkit.workflows.chat.job import ChatFiles, open_chat, plan_chat
    from llmkit.workflows.tool.given import given_tools

    files = ChatFiles(
        model=model,
        tokenizer=tokenizer,
        turns=turns,
        transcript=transcript,
        resume=resume,
        force=force,
        tools=tools,
        **vars(cache),
    )
    with given_tools(tools) as toolbox:
        job = open_chat(files, config, context, toolbox)
        if dry_run:
            print_report(plan_chat(job), as_json, describe_plan)
            return

        from llmkit.commands.chat.by_hand import chat_by_hand
        from llmkit.commands.chat.pipe import chat_lines
        from llmkit.workflows.chat.chat import start_chat

        talk = start_chat(job)
        for note in job.job.notes:
            session.console.note(note)
        with talk.keeping():
            if turns is None:
                chat_by_hand(talk, session.console, as_json=as_json)
            else:
                flush = unbuffered or is_terminal(None)
                chat_lines(talk, turns, session.console, as_json=as_json, flush=flush)
        for note in talk.notes:
            session.console.note(note)
