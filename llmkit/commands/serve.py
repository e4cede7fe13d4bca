"""llmkit serve: a model behind OpenAI's and Anthropic's endpoints."""

import sys
from pathlib import Path
from typing import cast

import typer

from llmkit.commands import serve_flags as flags
from llmkit.commands.base import Session
from llmkit.commands.sampling_flags import (
    Adapters,
    CacheOffload,
    Device,
    Draft,
    DraftTokens,
    DtypeName,
    KernelsName,
    KVDtypeName,
    RopeScaling,
    Threads,
    Tp,
    WeightsName,
)
from llmkit.commands.serve_text import describe_fleet, describe_plan, usage_table
from llmkit.commands.shared import DryRun, JsonReport, print_report
from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.retrieve.tool_config import ToolLimits
from llmkit.server.config import PassagesConfig, ServeConfig, ToolsConfig
from llmkit.server.router.config import Engine, RouterConfig, check_sources, read_source


def serve(
    ctx: typer.Context,
    served: flags.Served = None,
    model: flags.Model = None,
    name: flags.Name = None,
    tokenizer: flags.TokenizerPath = None,
    host: flags.Host = ServeConfig.host,
    port: flags.Port = ServeConfig.port,
    unix_socket: flags.UnixSocket = None,
    ready_fd: flags.ReadyFd = None,
    replicas: flags.Replicas = RouterConfig.replicas,
    tp: Tp = GenerateConfig.tp,
    engine_name: flags.EngineName = RouterConfig.engine,
    max_replicas: flags.MaxReplicas = RouterConfig.max_replicas,
    worker: flags.WorkerUrl = None,
    worker_key: flags.WorkerKey = None,
    admin_port: flags.AdminPort = None,
    admin_socket: flags.AdminSocket = None,
    rollback_margin: flags.RollbackMargin = RouterConfig.rollback_margin,
    keys: flags.KeyFile = None,
    usage: flags.UsageFile = None,
    new_key: flags.NewKey = None,
    show_usage: flags.ShowUsage = False,
    cors: flags.Cors = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    log: flags.Log = None,
    log_prompts: flags.LogPrompts = False,
    queue_requests: flags.QueueRequests = ServeConfig.queue_requests,
    queue_tokens: flags.QueueTokens = ServeConfig.queue_tokens,
    long_prompt_tokens: flags.LongPromptTokens = ServeConfig.long_prompt_tokens,
    long_places: flags.LongPlaces = ServeConfig.long_places,
    drain_seconds: flags.DrainSeconds = ServeConfig.drain_seconds,
    prompt_seconds: flags.PromptSeconds = ServeConfig.prompt_seconds,
    prompt_workers: flags.PromptWorkers = ServeConfig.prompt_workers,
    tool_form: flags.ToolForm = None,
    tool: flags.Tool = None,
    tool_schema: flags.ToolSchema = None,
    max_calls: flags.MaxCalls = ToolsConfig.max_calls,
    tool_timeout: flags.ToolTimeout = ToolLimits.seconds,
    tool_output: flags.ToolOutput = ToolLimits.output_bytes,
    retrieve: flags.RetrieveIndex = None,
    retrieve_by: flags.RetrieveBy = PassagesConfig.by,
    retrieve_embed_url: flags.RetrieveEmbedUrl = None,
    retrieve_embed_name: flags.RetrieveEmbedName = None,
    retrieve_embed_key: flags.RetrieveEmbedKey = None,
    retrieve_key: flags.RetrieveKey = None,
    adapter: Adapters = None,
    batch: flags.Batch = GenerateConfig.batch,
    dtype: DtypeName = GenerateConfig.dtype,
    kv_dtype: KVDtypeName = GenerateConfig.kv_dtype,
    rope_scaling: RopeScaling = GenerateConfig.rope_scaling,
    kernels: KernelsName = GenerateConfig.kernels,
    weights: WeightsName = GenerateConfig.weights,
    device: Device = GenerateConfig.device,
    threads: Threads = GenerateConfig.threads,
    draft: Draft = GenerateConfig.draft,
    draft_tokens: DraftTokens = GenerateConfig.draft_tokens,
    cache_offload: CacheOffload = GenerateConfig.cache_offload,
    dry_run: DryRun = False,
    as_json: JsonReport = False,
) -> None:
    """Serve a model over HTTP, as OpenAI and Anthropic do.

    \b
    OpenAI      /v1/completions /v1/chat/completions /v1/responses /v1/embeddings
              /v1/models
    Anthropic   /v1/messages /v1/messages/count_tokens
    ours        /tokenize /detokenize /apply-template /health /ready /metrics
    a page      / with chat, settings, and how sure the model was of each token

    A parameter is followed, or refused with 400 and its name. With --keys only
    who has a key is answered, and held to its limits. SIGTERM lets running
    requests end; Ctrl-C and a second SIGTERM do not.

    Long prompts have places of their own (--long-places), so that short ones do
    not wait for them. Admins load and unload adapters as with vLLM, at
    /v1/load_lora_adapter of --admin-port: in all processes, or in none.

    Chats, responses and messages without tools of their own may have those of
    --tool called, here ("tool_choice": "none" forbids it), and get passages of
    --retrieve ("retrieve": false leaves them out).

    \b
    Examples:
      llmkit serve run --dry-run
      llmkit serve --new-key alice
    """
    if new_key is not None:
        _print_new_key(new_key)
        return
    if show_usage:
        _print_usage(usage, as_json)
        return
    models = [*([] if served is None else [served]), *(model or ())]
    if not models and not worker:
        raise UsageError("serve: no model", hint="llmkit serve MODEL")
    if not models and (tool or retrieve or adapter):
        raise UsageError(
            "--tool, --retrieve and --adapter are for models of one's own",
            hint="give them to the servers of --worker",
        )
    if not models and (replicas > 1 or engine_name == "ray"):
        raise UsageError("--replicas and --engine: of what model?", hint="llmkit serve -m MODEL --replicas 2")
    if tp > 1 and (not models or engine_name == "ray"):
        raise UsageError(
            f"--tp {tp} cuts a model of one's own, in replicas that this program starts",
            hint="llmkit serve -m MODEL --replicas 2 --tp 2",
        )
    config = ServeConfig(
        host=host,
        port=port,
        unix_socket=unix_socket,
        tls_certificate=tls_cert,
        tls_key=tls_key,
        keys=keys,
        usage=usage,
        cors=tuple(cors or ()),
        log=log,
        log_prompts=log_prompts,
        ready_fd=ready_fd,
        queue_requests=queue_requests,
        queue_tokens=queue_tokens,
        long_prompt_tokens=long_prompt_tokens,
        long_places=long_places,
        drain_seconds=drain_seconds,
        prompt_seconds=prompt_seconds,
        prompt_workers=prompt_workers,
        tool_form=tool_form,
        tools=ToolsConfig(
            tools=tuple(tool or ()),
            schemas=tuple(tool_schema or ()),
            max_calls=max_calls,
            limits=ToolLimits(tool_timeout, tool_output),
        ),
        retrieve=retrieve,
        passages=PassagesConfig(
            by=retrieve_by,
            embed_url=retrieve_embed_url,
            embed_name=retrieve_embed_name,
            embed_key=retrieve_embed_key,
            key=retrieve_key,
        ),
    )
    engine = GenerateConfig(
        dtype=dtype,
        kv_dtype=kv_dtype,
        rope_scaling=rope_scaling,
        kernels=kernels,
        weights=weights,
        device=device,
        threads=threads,
        batch=batch,
        adapters=tuple(adapter or ()),
        draft=draft,
        draft_tokens=draft_tokens,
        cache_offload=cache_offload,
        tp=tp,
    )
    router = RouterConfig(
        replicas=replicas,
        engine=cast(Engine, engine_name),
        max_replicas=max_replicas,
        workers=tuple(worker or ()),
        worker_key=worker_key,
        admin_port=admin_port,
        admin_socket=admin_socket,
        rollback_margin=rollback_margin,
    )
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


def _print_new_key(name: str) -> None:
    """The entry for the file of keys on stdout, the key for its owner on stderr."""
    from llmkit.server.keys import entry_of, new_key

    key = new_key()
    print(entry_of(name, key), end="")
    print(f"the key of {name}, shown this once: {key}", file=sys.stderr)


def _print_usage(path: Path | None, as_json: bool) -> None:
    from llmkit.server.usage import read_usage

    if path is None or not path.is_file():
        raise UsageError("--show-usage needs the file that the server counts in", hint="--usage usage.db")
    report = {"schema": "llmkit.serve-usage/1", "rows": read_usage(path)}
    print_report(report, as_json, lambda told: usage_table(told["rows"]))
