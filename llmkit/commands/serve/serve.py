"""llmkit serve: a model behind OpenAI's and Anthropic's endpoints."""

import sys
from pathlib import Path

import typer

from llmkit.commands import sampling_flags as drawing
from llmkit.commands.base import Session
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.serve import flags
from llmkit.commands.serve.text import describe_fleet, describe_plan, usage_table
from llmkit.commands.shared import DryRun, JsonReport, print_report
from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, UsageError
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import check_sources, read_source


@with_flag_groups
def serve(
    ctx: typer.Context,
    *,
    served: flags.Served = None,
    model: flags.Model = None,
    name: flags.Name = None,
    tokenizer: drawing.TokenizerPath = None,
    listening: flags.Listening,
    fleet: flags.Fleet,
    access: flags.Access,
    queue: flags.Queue,
    helpers: flags.Helpers,
    adapter: drawing.Adapters = None,
    batch: drawing.Batch = GenerateConfig.batch,
    running: drawing.Running,
    speculation: drawing.Speculation,
    cache_offload: drawing.CacheOffload = GenerateConfig.cache_offload,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
) -> None:
    """Serve a model over HTTP, as OpenAI and Anthropic do.

    \b
    OpenAI      /v1/completions /v1/chat/completions /v1/responses /v1/embeddings
                /v1/models
    Anthropic   /v1/messages /v1/messages/count_tokens
    Jina        /v1/rerank for models that judge (Qwen3-Reranker)
    llama.cpp   /completion, /infill for editors, /props, /slots, /lora-adapters
    ours        /tokenize /detokenize /apply-template /health /ready /metrics
    a page      / with chat, settings, and how sure the model was of each token

    A parameter is followed, or the request is refused with 400 and its name. With
    --keys a request needs a key, and is held to the limits of that key; SIGHUP reads
    the file again. Keys share no cache; "cache_salt" keeps texts of one key apart
    too. After SIGTERM running requests have --drain-seconds to finish; Ctrl-C or a
    second SIGTERM ends them.

    Without keys, requests from web pages of other origins are refused (403), and so
    are, on 127.0.0.1, those that call it by another host's name. For pages of
    https://chat.example, --cors https://chat.example allows both.

    Where a request does not say how tokens are drawn, the model's
    generation_config.json does; else they are drawn at temperature 0.8 (OpenAI's own
    models have 1) from all tokens.

    What /v1/responses answers is kept in memory for a day, for each key apart
    (--response-bytes, --response-seconds): "previous_response_id" goes on from it, and
    /v1/responses/ID has it. "store": false keeps it out.

    Long prompts have places of their own (--long-places), so that short ones do
    not wait for them. Admins load and unload adapters as with vLLM, at
    /v1/load_lora_adapter of --admin-port, in all processes or in none.

    Chats, responses and messages that bring no tools of their own may call those of
    --tool, which run here ("tool_choice": "none" forbids it), and get passages of
    --retrieve ("retrieve": false leaves them out). A tool's "strict" is kept where
    a call is required, and where the model marks its calls, as with <tool_call>.

    \b
    Examples:
      llmkit serve run --port 8080 --dry-run
      llmkit serve --new-key alice > keys.toml
      llmkit serve run --host 0.0.0.0 --keys keys.toml --dry-run
    """
    if access.new_key is not None:
        _print_new_key(access.new_key)
        return
    if access.show_usage:
        _print_usage(access.usage, as_json)
        return
    models = [*([] if served is None else [served]), *(model or ())]
    _check(models, fleet, has_helpers=bool(helpers.tool or helpers.retrieve or adapter))
    config = ServeConfig(**vars(listening), **access.settings(), **vars(queue), **helpers.settings())
    engine = GenerateConfig(
        **vars(running),
        batch=batch,
        adapters=tuple(adapter or ()),
        **vars(speculation),
        cache_offload=cache_offload,
        tp=fleet.tp,
    )
    router = fleet.config()
    sources = tuple(read_source(one, name) for one in models)
    check_sources(sources)
    session: Session = ctx.obj
    if dry_run and router.is_wanted(sources):
        from llmkit.workflows.serve.fleet_plan import plan_fleet

        plan = plan_fleet(sources, tokenizer, engine, config, router)
        print_report(plan, as_json, describe_fleet)
        return
    if router.is_wanted(sources):
        from llmkit.workflows.serve.replicas import Replicas, serve_replicas

        serve_replicas(Replicas(sources, tokenizer, engine, config, router), note=session.console.note)
        return
    from llmkit.workflows.serve.serve import open_serve_job, plan_serve
    from llmkit.workflows.serve.serve import serve as serve_model

    job = open_serve_job(Path(sources[0].path), tokenizer, engine)
    if dry_run:
        print_report(plan_serve(job, config, sources[0].name), as_json, describe_plan)
        return
    serve_model(job, config, name=sources[0].name, note=session.console.note)


def _check(models: list[str], fleet: flags.Fleet, *, has_helpers: bool) -> None:
    """Refuse what is asked of models that are not there.

    Raises:
        UsageError: says what is.
    """
    if "" in models or not (models or fleet.worker):
        raise UsageError("serve: no model", hint="llmkit serve MODEL")
    if not models and has_helpers:
        raise UsageError(
            "--tool, --retrieve and --adapter are for models of one's own",
            hint="give them to the servers of --worker",
        )
    if not models and (fleet.replicas > 1 or fleet.engine_name == "ray"):
        raise UsageError("--replicas and --engine: of what model?", hint="llmkit serve MODEL --replicas 2")
    if fleet.tp > 1 and (not models or fleet.engine_name == "ray"):
        raise UsageError(
            f"--tp {fleet.tp} cuts a model of one's own, in replicas that this program starts",
            hint="llmkit serve MODEL --replicas 2 --tp 2",
        )


def _print_new_key(name: str) -> None:
    """The entry for the file of keys on stdout, the key for its owner on stderr."""
    from llmkit.server.keys import entry_of, new_key

    key = new_key()
    print(entry_of(name, key), end="")
    print(f"the key of {name}, shown this once: {key}", file=sys.stderr)


def _print_usage(path: Path | None, as_json: bool) -> None:
    from llmkit.server.usage import read_usage

    if path is None:
        raise UsageError("--show-usage needs the file that the server counts in", hint="--usage usage.db")
    if not path.is_file():
        raise MissingError(f"--usage {path}: no such file", hint="name the one that the server counts in")
    report = {"schema": "llmkit.serve-usage/1", "rows": read_usage(path)}
    print_report(report, as_json, lambda told: usage_table(told["rows"]))
