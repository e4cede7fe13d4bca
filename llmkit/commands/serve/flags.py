"""The flags of `llmkit serve` alone: what is served, where, to whom, and how much at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from typer import Argument, Option

from llmkit.commands.sampling_flags import Tp
from llmkit.commands.tool_flags import ToolOutput, ToolTimeout
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


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where requests come in."""

    host: Annotated[
        str, Option(metavar="ADDRESS", help="Listen here; 0.0.0.0: on all of this machine's.")
    ] = ServeConfig.host
    port: Annotated[int, Option(metavar="N", help="0: any that is free.")] = ServeConfig.port
    unix_socket: Annotated[Path | None, Option(metavar="PATH", help="Listen here, not on a port.")] = None
    ready_fd: Annotated[
        int | None, Option(metavar="FD", help="Where a line of JSON says when and where it is ready.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The processes behind one address."""

    replicas: Annotated[
        int, Option(max=MOST_AT_ONCE, metavar="N", help="Processes for each model, behind a router.")
    ] = RouterConfig.replicas
    tp: Tp = GenerateConfig.tp
    engine_name: Annotated[
        str,
        Option(
            "--engine",
            metavar="own|ray",
            help="Who keeps them alive: ray is Ray Serve, here or on the cluster at RAY_ADDRESS.",
        ),
    ] = RouterConfig.engine
    max_replicas: Annotated[
        int | None,
        Option(
            max=MOST_AT_ONCE, metavar="N", help="With --engine ray: up to so many, as there is more to do."
        ),
    ] = RouterConfig.max_replicas
    worker: Annotated[
        list[str] | None,
        Option(
            "--worker", metavar="URL", help="A server that speaks as OpenAI does, behind ours. Repeatable."
        ),
    ] = None
    worker_key: Annotated[Path | None, Option(metavar="FILE", help="The key that those ask for.")] = None
    admin_port: Annotated[
        int | None, Option(metavar="N", help="For admins: models, weights, reload, adapters, drain, usage.")
    ] = None
    admin_socket: Annotated[
        Path | None, Option(metavar="PATH", help="The same, for the owner of this socket.")
    ] = None
    rollback_margin: Annotated[
        float, Option(metavar="P", help="A new version that fails by this share more is taken back.")
    ] = RouterConfig.rollback_margin

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

    keys: Annotated[
        Path | None,
        Option(
            "--keys",
            "--api-key-file",
            metavar="FILE",
            help="Who may ask, and how much (TOML); or keys alone, a line each.",
        ),
    ] = None
    usage: Annotated[
        Path | None, Option("--usage", metavar="FILE.db", help="Count the tokens of each key here (SQLite).")
    ] = None
    new_key: Annotated[
        str | None, Option(metavar="NAME", help="Make a key, print its entry for --keys, and stop.")
    ] = None
    show_usage: Annotated[bool, Option("--show-usage", help="Print what --usage has counted, and stop.")] = (
        False
    )
    cors: Annotated[
        list[str] | None, Option(metavar="ORIGIN", help="Whose pages may ask, beside its own. Repeatable.")
    ] = None
    tls_cert: Annotated[
        Path | None, Option(metavar="FILE", help="Certificate chain, PEM; with --tls-key.")
    ] = None
    tls_key: Annotated[Path | None, Option(metavar="FILE", help="Its private key, PEM.")] = None
    log: Annotated[
        Path | None, Option(metavar="FILE", help="A line of JSON for each request; - is stdout.")
    ] = None
    log_prompts: Annotated[bool, Option("--log-prompts", help="With --log: what was said too.")] = False

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

    queue_requests: Annotated[
        int, Option(metavar="N", help="Texts at work and waiting, and prompts to encode; more get 503.")
    ] = ServeConfig.queue_requests
    queue_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Tokens of these texts; more get 503.")
    ] = ServeConfig.queue_tokens
    long_prompt_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Prompts from here on are long ones.")
    ] = ServeConfig.long_prompt_tokens
    long_places: Annotated[int, Option(metavar="N", help="Long ones at work at once.")] = (
        ServeConfig.long_places
    )
    drain_seconds: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="After SIGTERM, for running requests.")
    ] = ServeConfig.drain_seconds
    prompt_seconds: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="To render and tokenise one prompt.")
    ] = ServeConfig.prompt_seconds
    prompt_workers: Annotated[
        int, Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Processes that do so.")
    ] = ServeConfig.prompt_workers
    response_bytes: Annotated[
        int,
        Option(parser=parse_size, metavar="BYTES", help="Of /v1/responses, kept for each key; 0: none are."),
    ] = ServeConfig.response_bytes
    response_seconds: Annotated[
        float, Option(parser=parse_seconds, metavar="TIME", help="That one is kept after its last use.")
    ] = ServeConfig.response_seconds


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """What a model has beside itself: tools that are run here, passages of an index."""

    tool_form: Annotated[
        str | None,
        Option(
            metavar="FORM",
            help="How it calls functions: hermes, llama, mistral, json, ….",
            show_default="as its chat template says",
        ),
    ] = None
    reasoning_format: Annotated[
        ReasoningFormat,
        Option(help="auto: thoughts are told apart, as reasoning_content; none: in the text."),
    ] = ServeConfig.reasoning_format
    tool: Annotated[
        list[str] | None,
        Option(metavar="'NAME: PROGRAM'", help="What models may call, and the server runs. Repeatable."),
    ] = None
    tool_schema: Annotated[
        list[str] | None, Option(metavar="'NAME: FILE'", help="In place of PROGRAM --schema. Repeatable.")
    ] = None
    max_calls: Annotated[int, Option(min=1, metavar="N", help="Of tools, in one answer.")] = (
        ToolsConfig.max_calls
    )
    tool_timeout: ToolTimeout = ToolLimits.seconds
    tool_output: ToolOutput = ToolLimits.output_bytes
    retrieve: Annotated[
        str | None,
        Option(metavar="INDEX[:K]", help="Put its best K passages (8) before questions, and cite them."),
    ] = None
    retrieve_by: Annotated[By, Option(help="meaning, both: by the index's vectors too.")] = PassagesConfig.by
    retrieve_embed_url: Annotated[
        str | None, Option(metavar="URL", help="Makes its vectors.", show_default="as the index says")
    ] = None
    retrieve_embed_name: Annotated[str | None, Option(metavar="NAME", help="Which of its models.")] = None
    retrieve_embed_key: Annotated[Path | None, Option(metavar="FILE", help="The key that it asks for.")] = (
        None
    )
    retrieve_key: Annotated[
        Path | None, Option(metavar="FILE", help="Key of the engine that INDEX names.")
    ] = None

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
