"""llmkit serve: a model opened, its engine started, clients answered until a signal says to end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.errors import MissingError, UsageError
from llmkit.formats.gguf.parts import name_of
from llmkit.formats.streams import STDIO
from llmkit.server.config import ServeConfig
from llmkit.server.gate import Gate
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import read_keys
from llmkit.server.observe import RequestLog
from llmkit.server.run import Ending, Run
from llmkit.tokens.tools.forms import check_form
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.serve.adapters import served_adapters
from llmkit.workflows.serve.aids import Aids, check_aids, open_aids
from llmkit.workflows.serve.front import Front, address_of, check_places, end_as, open_front
from llmkit.workflows.serve.reload import reading_keys_again
from llmkit.workflows.serve.served import served_model

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from llmkit.server.handlers import State
    from llmkit.server.prompts import PromptPool, TemplateFacts


@dataclass(frozen=True)
class ServePlan:
    """What a server would take."""

    model: str
    name: str
    parameters: int
    dtype: str
    device: str
    kernels: str
    """What computes: native or torch."""
    processes: int
    """That have a part of the model each."""
    threads: int
    """Of each."""
    context: int
    texts_at_once: int
    cache_positions: int
    weight_bytes: int
    kv_bytes: int
    memory_bytes: int
    memory_available_bytes: int | None
    keys: int | None
    listens: str
    notes: tuple[str, ...]
    tools: tuple[str, ...] = ()
    """Those that the server runs, as they were named."""
    retrieve: str | None = None
    """The index whose passages are put before questions."""
    schema: str = "llmkit.serve-plan/1"


def open_serve_job(model: Path, tokenizer: Path | None, config: GenerateConfig) -> Job:
    """Read everything of a model but its weights.

    Raises:
        UsageError, ConfigError, DataError, MissingError: see `open_job`.
    """
    job = open_job(GenerateFiles(model=model, tokenizer=tokenizer, jsonl=STDIO), config)
    if job.tokenizer is None:
        raise MissingError(f"{model}: no tokenizer in this folder", hint="name it with -t TOKENIZER")
    if job.sampling.max_tokens == SamplingConfig.max_tokens:
        return job
    what = f"{model}: max_new_tokens is not followed: replies are as long as requests say"
    sampling = replace(job.sampling, max_tokens=SamplingConfig.max_tokens)  # memory is planned by it
    return replace(job, sampling=sampling, notes=(*job.notes, what))


def plan_serve(job: Job, config: ServeConfig, name: str | None) -> ServePlan:
    """What `serve` would do and take; no program is started, no server asked, and nothing written.

    Raises:
        ConfigError: there is no such form of tool calls.
        LlmkitError: files, tools or an index that cannot be; see `check_places` and `check_aids`.
    """
    from llmkit.estimate.architecture_of import architecture_of
    from llmkit.workflows.generate.device import device_memory_bytes
    from llmkit.workflows.generate.model import place

    check_form(config.tool_form)
    check_places(config)
    check_aids(config)
    placement = place(job, None)
    return ServePlan(
        model=str(job.files.model),
        name=model_name(job, name),
        parameters=architecture_of(job.model).parameters,
        dtype=placement.dtype,
        device=placement.device,
        kernels=placement.kernels,
        processes=placement.processes,
        threads=placement.threads,
        context=min(job.model.max_position_embeddings, placement.positions),
        texts_at_once=placement.texts,
        cache_positions=placement.positions,
        weight_bytes=placement.weight_bytes,
        kv_bytes=placement.kv_bytes,
        memory_bytes=placement.memory_bytes,
        memory_available_bytes=device_memory_bytes(placement.device),
        keys=None if config.keys is None else len(read_keys(config.keys).rules),
        listens=address_of(config, config.port),
        notes=job.notes,
        tools=config.tools.tools,
        retrieve=config.retrieve,
    )


def serve(job: Job, config: ServeConfig, *, name: str | None = None, note: Callable[[str], None]) -> None:
    """Serve until a signal says to end.

    Args:
        job: the model, opened.
        config: how to listen, and whom to serve.
        name: what clients call the model; None: what its folder is called.
        note: told where the server is.

    Raises:
        ResourceError: the port is in use, or memory is short.
        LlmkitError: a file of keys, a socket, a form of calls, a tool or an index that cannot be.
        KeyboardInterrupt: Ctrl-C.
        SystemExit: a second SIGTERM.
    """
    check_form(config.tool_form)
    with open_front(config) as front, open_aids(config) as aids:
        ending = asyncio.run(reading_keys_again(front, note, _serve(job, front, aids, name, note)))
    end_as(ending)


def model_name(job: Job, name: str | None) -> str:
    """What clients call the model.

    Raises:
        UsageError: an empty name, or one with a colon, behind which adapters are named.
    """
    found = name_of(job.files.model) if name is None else name
    if not found or ":" in found:
        raise UsageError(f"--name {found!r}: names are not empty and have no colon", hint="--name small")
    return found


async def _serve(job: Job, front: Front, aids: Aids, name: str | None, note: Callable[[str], None]) -> Ending:
    config = front.config
    opened = opened_app(
        job,
        config,
        front.gate,
        aids,
        name=model_name(job, name),
        note=note,
        tell=front.tell,
        behind_router=config.behind_router,
    )
    async with opened as (app, state):
        run = Run(app, state, front.listener, drain_seconds=config.drain_seconds, tls=front.tls)
        return await run.until_signal(lambda: front.announce(model_name(job, name), note))


@contextlib.asynccontextmanager
async def opened_app(
    job: Job,
    config: ServeConfig,
    gate: Gate,
    aids: Aids,
    *,
    name: str,
    note: Callable[[str], None],
    tell: RequestLog,
    behind_router: bool,
) -> AsyncIterator[tuple["Starlette", "State"]]:
    """The application of a model, its weights read and its engine running; all closed at the end.

    Args:
        job: the model, opened.
        config: whom to serve.
        gate: who comes in.
        aids: what it has beside the model.
        name: what clients call it.
        note: told what users may have to know.
        tell: takes a record of each request.
        behind_router: whether a router asks, which has the keys and the queue.
    """
    from llmkit.engine.engine import Engine
    from llmkit.server.app import build_app
    from llmkit.server.engine_thread import EngineThread
    from llmkit.server.handlers import State
    from llmkit.server.kept_responses import KeptResponses
    from llmkit.server.metrics import Metrics
    from llmkit.server.models import Models
    from llmkit.server.prompts import PromptPool, most_prompt_bytes
    from llmkit.server.wire.sampling import WireLimits
    from llmkit.workflows.generate.model import place, start_engine

    assert job.tokenizer is not None
    placement = place(job, None)
    context = min(job.model.max_position_embeddings, placement.positions)
    async with contextlib.AsyncExitStack() as stack:
        prompts = PromptPool(
            job.files.tokenizer or job.files.model,
            workers=config.prompt_workers,
            seconds=config.prompt_seconds,
            most_bytes=most_prompt_bytes(context),
            most_waiting=config.queue_requests,
        )
        stack.push_async_callback(prompts.close)
        tried = asyncio.create_task(_start_prompts(prompts))  # while the weights are read
        stack.push_async_callback(_give_up, tried)
        engine: Engine = await asyncio.to_thread(start_engine, job, placement)
        stack.push_async_callback(asyncio.to_thread, engine.lead.close)
        thread = EngineThread(engine, job.tokenizer)
        stack.callback(thread.abandon)
        template = await tried
        if template.problem:
            note(f"{template.problem}, so that chats may be refused")
        adapters = served_adapters(job, thread, placement.device)
        models = Models([served_model(job, config, name, context, thread, prompts, template, adapters)])
        keyed = gate if isinstance(gate, KeyedGate) else None  # else the router has it
        if keyed is not None:
            keyed.admission.limit_long(placement.texts - 1)  # short ones have one of its places
        bench = aids.bench(job.tokenizer)
        if bench is not None:
            stack.callback(bench.close)
        state = State(
            models,
            gate,
            WireLimits(),
            Metrics(models.loads, models.versions, keyed),
            log_prompts=config.log_prompts,
            behind_router=behind_router,
            bench=bench,
            retrieval=aids.retrieval(job.tokenizer, context),
            kept=KeptResponses(config.response_bytes, config.response_seconds),
        )
        thread.start()
        host = None if behind_router else config.listens_on  # a router says another one
        yield build_app(state, tell=tell, origins=config.cors, host=host), state


async def _give_up(work: "asyncio.Task[TemplateFacts]") -> None:
    """Have it over before more is closed: a process that is being started is nobody's yet, and ends there."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _start_prompts(prompts: "PromptPool") -> "TemplateFacts":
    """Start the processes, and have one of them try the chat template out."""
    await prompts.start()
    return await prompts.try_template()
