"""What `llmkit chat` needs before any weight is read: opened and checked."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmkit.engine.config import GenerateConfig
from llmkit.errors import UsageError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.streams import STDIO, require_inputs
from llmkit.retrieve.tools.loop import Toolbox
from llmkit.workflows.chat.history import read_conversations
from llmkit.workflows.generate.adapter import adapter_path
from llmkit.workflows.generate.draft import draft_paths
from llmkit.workflows.generate.extent import Extent
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import Job, open_job
from llmkit.workflows.tool.options import ToolOptions


@dataclass(frozen=True, kw_only=True)
class ChatFiles:
    """What to read and where to write."""

    model: Path
    tokenizer: Path | None = None
    turns: Path | None = None
    """A file whose lines are what the user says; `-` is stdin; None: it is typed by hand."""
    transcript: Path | None = None
    resume: bool = False
    """Whether to go on with the transcript's last conversation."""
    force: bool = False
    prompt_cache: Path | None = None
    prompt_cache_read_only: bool = False
    tools: ToolOptions | None = None
    """What the model may call."""


@dataclass(frozen=True)
class ChatJob:
    """A request to talk, with everything known that can be known without the weights."""

    job: Job
    files: ChatFiles
    context: int
    """Tokens that a conversation may take."""

    @property
    def extent(self) -> Extent:
        """One text, as long as the context."""
        return Extent(rows=1, prompt_tokens=self.context, positions=self.context, texts=1)


@dataclass(frozen=True)
class ChatPlan:
    """What a session would take."""

    model: str
    parameters: int
    dtype: str
    device: str
    kernels: str
    """What computes: native or torch."""
    threads: int
    context: int
    weight_bytes: int
    kv_bytes: int
    draft_bytes: int
    """Of a model that guesses at tokens, its cache included."""
    adapter_bytes: int
    """Of all adapters beside the base."""
    memory_bytes: int
    memory_available_bytes: int | None
    sampling: dict[str, Any]
    transcript: str | None
    notes: tuple[str, ...]
    schema: str = "llmkit.chat-plan/1"


def open_chat(
    files: ChatFiles, config: GenerateConfig, context: int | None, toolbox: Toolbox | None = None
) -> ChatJob:
    """Read everything but the weights.

    Args:
        files: what to read and where to write.
        config: as for `open_job`.
        context: tokens that a conversation may take; None: as many as the model can.
        toolbox: files.tools, opened.

    Raises:
        UsageError: options that do not go together, or a transcript that is there already or is an input.
        ConfigError, DataError, MissingError: see `open_job`; also, there is no chat template.
    """
    if files.resume and files.transcript is None:
        raise UsageError("--resume does nothing without --transcript", hint="--transcript FILE --resume")
    replay = None if files.tools is None else files.tools.replay
    inputs = [path for path in (files.turns, replay) if path is not None]
    own = [] if files.tokenizer is None else [files.tokenizer]
    require_inputs(inputs)
    if files.transcript is not None:
        if files.transcript == STDIO:
            raise UsageError("--transcript -: stdout has the replies", hint="name a file, or use --json")
        if files.resume and files.transcript.exists():
            refuse_existing(files.transcript, force=True, inputs=inputs, is_file=True)
            read_conversations(files.transcript)
        else:
            read = [*inputs, files.model, *own, *map(adapter_path, config.adapters), *draft_paths(config)]
            refuse_existing(files.transcript, force=files.force, inputs=read, is_file=True)
    given = GenerateFiles(
        model=files.model,
        tokenizer=files.tokenizer,
        prompt="",
        prompt_cache=files.prompt_cache,
        prompt_cache_read_only=files.prompt_cache_read_only,
        tools=files.tools,
    )
    job = open_job(given, config, toolbox)
    assert job.encoder is not None
    job.encoder.render([{"role": "user", "content": "Hello"}])  # a template is there, and takes a message
    most = job.model.max_position_embeddings
    if context is not None and not 2 <= context <= most:
        raise UsageError(
            f"--context {context:,}: the model has a context of {most:,}",
            hint="leave it out, or --rope-scaling yarn:2 for a longer one",
        )
    return ChatJob(job, files, context or most)


def plan_chat(chat: ChatJob) -> ChatPlan:
    """What a session would take, after the same checks."""
    from llmkit.estimate.architecture_of import architecture_of
    from llmkit.workflows.generate.device import device_memory_bytes
    from llmkit.workflows.generate.model import place
    from llmkit.workflows.generate.prompt_cache import open_prompt_cache

    job, placement = chat.job, place(chat.job, chat.extent)
    open_prompt_cache(job, placement)  # one of another model is found out now
    return ChatPlan(
        model=str(chat.files.model),
        parameters=architecture_of(job.model).parameters,
        dtype=placement.dtype,
        device=placement.device,
        kernels=placement.kernels,
        threads=placement.threads,
        context=chat.context,
        weight_bytes=placement.weight_bytes,
        kv_bytes=placement.kv_bytes,
        draft_bytes=placement.draft_bytes,
        adapter_bytes=placement.adapter_bytes,
        memory_bytes=placement.memory_bytes,
        memory_available_bytes=device_memory_bytes(placement.device),
        sampling=asdict(job.sampling),
        transcript=None if chat.files.transcript is None else str(chat.files.transcript),
        notes=job.notes,
    )
