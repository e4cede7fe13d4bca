"""The flags of `llmkit serve` alone: what is served, where, to whom, and how much at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from typer import Argument, Option

from llmkit.commands.sampling_flags import Tp
from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_seconds, parse_size
from llmkit.engine.config import GenerateConfig
from llmkit.retrieve.config import By
from llmkit.retrieve.tools.config import ToolLimits
from llmkit.server.config import PassagesConfig, ReasoningFormat, ServeConfig, ToolsConfig
from llmkit.server.router.config import Engine, RouterConfig

Served = Annotated[str | None, Argument(metavar="MODEL", help="What is served: the same as -m.")]
Model = Annotated[
    list[str] | None,
    Option(
        "--model",
        "-m",
        metavar="[NAME=]PATH[@VERSION:WEIGHT]",
        help="Model folder or GGUF file. Repeatable: models, and versions of one by weight.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None, Option(metavar="NAME", help="What clients call it.", show_default="what its folder is called")
]

ToolForm = Annotated[
    str | None,
    Option(
        metavar="FORM",
        help="How it calls functions: hermes, llama, mistral, json, ….",
        show_default="as its chat template says",
    ),
]
Reasoning = Annotated[
    ReasoningFormat, Option(help="auto: thoughts are told apart, as reasoning_content; none: in the text.")
]

# What it has beside the model

Tool = Annotated[
    list[str] | None,
    Option(metavar="'NAME: PROGRAM'", help="What models may call, and the server runs. Repeatable."),
]
ToolSchema = Annotated[
    list[str] | None, Option(metavar="'NAME: FILE'", help="In place of PROGRAM --schema. Repeatable.")
]
MaxCalls = Annotated[int, Option(min=1, metavar="N", help="Of tools, in one answer.")]
ToolTimeout = Annotated[float, Option(parser=parse_seconds, metavar="TIME", help="Of one call.")]
ToolOutput = Annotated[int, Option(parser=parse_size, metavar="BYTES", help="Of one result at most.")]
RetrieveIndex = Annotated[
    str | None,
    Option(metavar="INDEX[:K]", help="Put its best K passages (8) before questions, and cite them."),
]
RetrieveBy = Annotated[By, Option(help="meaning, both: by the index's vectors too.")]
RetrieveEmbedUrl = Annotated[
    str | None, Option(metavar="URL", help="Makes its vectors.", show_default="as the index says")
]
RetrieveEmbedName = Annotated[str | None, Option(metavar="NAME", help="Which of its models.")]
RetrieveEmbedKey = Annotated[Path | None, Option(metavar="FILE", help="The key that it asks for.")]
RetrieveKey = Annotated[Path | None, Option(metavar="FILE", help="Key of the engine that INDEX names.")]

# Where

Host = Annotated[str, Option(metavar="ADDRESS", help="Listen here; 0.0.0.0: on all of this machine's.")]
Port = Annotated[int, Option(metavar="N", help="0: any that is free.")]
UnixSocket = Annotated[Path | None, Option(metavar="PATH", help="Listen here, not on a port.")]
ReadyFd = Annotated[
    int | None, Option(metavar="FD", help="Where a line of JSON says when and where it is ready.")
]
TlsCert = Annotated[Path | None, Option(metavar="FILE", help="Certificate chain, PEM; with --tls-key.")]
TlsKey = Annotated[Path | None, Option(metavar="FILE", help="Its private key, PEM.")]
Cors = Annotated[
    list[str] | None, Option(metavar="ORIGIN", help="Whose pages may ask, beside its own. Repeatable.")
]

# By whom

Replicas = Annotated[
    int, Option(max=MOST_AT_ONCE, metavar="N", help="Processes for each model, behind a router.")
]
EngineName = Annotated[
    str,
    Option(
        "--engine",
        metavar="own|ray",
        help="Who keeps them alive: ray is Ray Serve, here or on the cluster at RAY_ADDRESS.",
    ),
]
MaxReplicas = Annotated[
    int | None,
    Option(max=MOST_AT_ONCE, metavar="N", help="With --engine ray: up to so many, as there is more to do."),
]
WorkerUrl = Annotated[
    list[str] | None,
    Option("--worker", metavar="URL", help="A server that speaks as OpenAI does, behind ours. Repeatable."),
]
WorkerKey = Annotated[Path | None, Option(metavar="FILE", help="The key that those ask for.")]
AdminPort = Annotated[
    int | None, Option(metavar="N", help="For admins: models, weights, reload, adapters, drain, usage.")
]
AdminSocket = Annotated[Path | None, Option(metavar="PATH", help="The same, for the owner of this socket.")]
RollbackMargin = Annotated[
    float, Option(metavar="P", help="A new version that fails by this share more is taken back.")
]

# To whom

KeyFile = Annotated[
    Path | None,
    Option(
        "--keys",
        "--api-key-file",
        metavar="FILE",
        help="Who may ask, and how much (TOML); or keys alone, a line each.",
    ),
]
NewKey = Annotated[
    str | None, Option(metavar="NAME", help="Make a key, print its entry for --keys, and stop.")
]
UsageFile = Annotated[
    Path | None, Option("--usage", metavar="FILE.db", help="Count the tokens of each key here (SQLite).")
]
ShowUsage = Annotated[bool, Option("--show-usage", help="Print what --usage has counted, and stop.")]
Log = Annotated[Path | None, Option(metavar="FILE", help="A line of JSON for each request; - is stdout.")]
LogPrompts = Annotated[bool, Option("--log-prompts", help="With --log: what was said too.")]

# How much

QueueRequests = Annotated[
    int, Option(metavar="N", help="Texts at work and waiting, and prompts to encode; more get 503.")
]
QueueTokens = Annotated[
    int, Option(parser=parse_count, metavar="N", help="Tokens of these texts; more get 503.")
]
LongPromptTokens = Annotated[
    int, Option(parser=parse_count, metavar="N", help="Prompts from here on are long ones.")
]
LongPlaces = Annotated[int, Option(metavar="N", help="Long ones at work at once.")]
DrainSeconds = Annotated[
    float, Option(parser=parse_seconds, metavar="TIME", help="After SIGTERM, for running requests.")
]
PromptSeconds = Annotated[
    float, Option(parser=parse_seconds, metavar="TIME", help="To render and tokenise one prompt.")
]
PromptWorkers = Annotated[int, Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Processes that do so.")]
ResponseBytes = Annotated[
    int,
    Option(parser=parse_size, metavar="BYTES", help="Of /v1/responses, kept for each key; 0: none are."),
]
ResponseSeconds = Annotated[
    float, Option(parser=parse_seconds, metavar="TIME", help="That one is kept after its last use.")
]

# As groups, in the order of the help


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where requests come in."""

    host: Host = ServeConfig.host
    port: Port = ServeConfig.port
    unix_socket: UnixSocket = None
    ready_fd: ReadyFd = None


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The processes behind one address."""

    replicas: Replicas = RouterConfig.replicas
    tp: Tp = GenerateConfig.tp
    engine_name: EngineName = RouterConfig.engine
    max_replicas: MaxReplicas = RouterConfig.max_replicas
    worker: WorkerUrl = None
    worker_key: WorkerKey = None
    admin_port: AdminPort = None
    admin_socket: AdminSocket = None
    rollback_margin: RollbackMargin = RouterConfig.rollback_margin

    def config(self) -> RouterConfig:
        """As the router takes them; raises ConfigError as that does."""
        return RouterConfig(
            replicas=self.replicas,
            engine=cast(Engine, self.engine_name),
            max_replicas=self.max_replicas,
            workers=tuple(self.worker or ()),
            worker_key=self.worker_key,
            admin_port=self.admin_port,
            admin_socket=self.admin_socket,
            rollback_margin=self.rollback_margin,
        )


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask, and what is known of it."""

    keys: KeyFile = None
    usage: UsageFile = None
    new_key: NewKey = None
    show_usage: ShowUsage = False
    cors: Cors = None
    tls_cert: TlsCert = None
    tls_key: TlsKey = None
    log: Log = None
    log_prompts: LogPrompts = False

    def settings(self) -> dict[str, Any]:
        """As ServeConfig has them."""
        return {
            "keys": self.keys,
            "usage": self.usage,
            "cors": tuple(self.cors or ()),
            "tls_certificate": self.tls_cert,
            "tls_key": self.tls_key,
            "log": self.log,
            "log_prompts": self.log_prompts,
        }


@dataclass(frozen=True, kw_only=True)
class Queue:
    """How much may wait, and for how long."""

    queue_requests: QueueRequests = ServeConfig.queue_requests
    queue_tokens: QueueTokens = ServeConfig.queue_tokens
    long_prompt_tokens: LongPromptTokens = ServeConfig.long_prompt_tokens
    long_places: LongPlaces = ServeConfig.long_places
    drain_seconds: DrainSeconds = ServeConfig.drain_seconds
    prompt_seconds: PromptSeconds = ServeConfig.prompt_seconds
    prompt_workers: PromptWorkers = ServeConfig.prompt_workers
    response_bytes: ResponseBytes = ServeConfig.response_bytes
    response_seconds: ResponseSeconds = ServeConfig.response_seconds


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """What a model has beside itself: tools that are run here, passages of an index."""

    tool_form: ToolForm = None
    reasoning_format: Reasoning = ServeConfig.reasoning_format
    tool: Tool = None
    tool_schema: ToolSchema = None
    max_calls: MaxCalls = ToolsConfig.max_calls
    tool_timeout: ToolTimeout = ToolLimits.seconds
    tool_output: ToolOutput = ToolLimits.output_bytes
    retrieve: RetrieveIndex = None
    retrieve_by: RetrieveBy = PassagesConfig.by
    retrieve_embed_url: RetrieveEmbedUrl = None
    retrieve_embed_name: RetrieveEmbedName = None
    retrieve_embed_key: RetrieveEmbedKey = None
    retrieve_key: RetrieveKey = None

    def settings(self) -> dict[str, Any]:
        """As ServeConfig has them."""
        tools = ToolsConfig(
            tools=tuple(self.tool or ()),
            schemas=tuple(self.tool_schema or ()),
            max_calls=self.max_calls,
            limits=ToolLimits(self.tool_timeout, self.tool_output),
        )
        passages = PassagesConfig(
            by=self.retrieve_by,
            embed_url=self.retrieve_embed_url,
            embed_name=self.retrieve_embed_name,
            embed_key=self.retrieve_embed_key,
            key=self.retrieve_key,
        )
        return {
            "tool_form": self.tool_form,
            "reasoning_format": self.reasoning_format,
            "tools": tools,
            "retrieve": self.retrieve,
            "passages": passages,
        }


HERE, ONE_PROCESS, ANYBODY, QUEUE, NO_HELPERS = Listening(), Fleet(), Access(), Queue(), Helpers()
"""What the groups are where nothing is given."""
