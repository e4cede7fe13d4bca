"""How a server listens, whom it serves and how much at once: torch-free, so that flags can show defaults."""

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal

from llmkit.errors import ConfigError
from llmkit.retrieve.config import By
from llmkit.retrieve.tools.config import ToolLimits
from llmkit.retrieve.tools.loop import MAX_CALLS
from llmkit.server.own_origin import as_browsers_write

ReasoningFormat = Literal["auto", "none"]

LEAST_RESPONSE_BYTES = 8 << 20
"""A request of any size fits, with its answer."""


@dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """How much may be under way or wait."""

    max_requests: int = 256
    """Answers, at work and waiting."""
    max_tokens: int = 1_000_000
    """Of their prompts and of what they may still draw."""
    long_tokens: int = 1024
    """A prompt from this length on is a long one."""
    long_places: int = 4
    """Long ones with the engine at once; more wait here."""


@dataclass(frozen=True, kw_only=True)
class ToolsConfig:
    """Which tools a server runs itself; see `workflows/tool/options.py`."""

    tools: tuple[str, ...] = ()
    """Each `NAME: SOURCE`. That they are named here is their approval."""
    schemas: tuple[str, ...] = ()
    max_calls: int = MAX_CALLS
    """Of one answer."""
    limits: ToolLimits = field(default_factory=ToolLimits)
    """Of one call."""


@dataclass(frozen=True, kw_only=True)
class PassagesConfig:
    """How the index of `ServeConfig.retrieve` is searched; see `workflows/retrieve/search.py`."""

    by: By = "words"
    embed_url: str | None = None
    """Of the server that makes vectors; None: what made the index's."""
    embed_name: str | None = None
    embed_key: Path | None = None
    key: Path | None = None
    """Of a search engine."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """The settings of a server, beside those of its engine.

    Raises:
        ConfigError: a value is out of range, or two settings exclude each other.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    unix_socket: Path | None = None
    """In place of host and port."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    keys: Path | None = None
    """Who may ask; None: everybody who can reach the port."""
    usage: Path | None = None
    """Where tokens are counted, key by key; None: they are forgotten at the end."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may ask, beside the server's own."""
    log: Path | None = None
    """A line of JSON for each request; `-` is stdout."""
    log_prompts: bool = False
    ready_fd: int | None = None
    """A file descriptor that is told when requests are taken in."""
    queue_requests: int = AdmissionConfig.max_requests
    """Answers, at work and waiting; as many prompts may wait to be encoded."""
    queue_tokens: int = AdmissionConfig.max_tokens
    long_prompt_tokens: int = AdmissionConfig.long_tokens
    long_places: int = AdmissionConfig.long_places
    drain_seconds: float = 30.0
    """How long SIGTERM waits for running requests."""
    prompt_seconds: float = 10.0
    """That the template and the tokenizer may take for one prompt."""
    prompt_workers: int = 2
    response_bytes: int = 64 << 20
    """Of the responses that are kept for each key; 0: none is kept."""
    response_seconds: float = 86_400.0
    """That one is kept after its last use."""
    tool_form: str | None = None
    """How models call functions, one of `tools.forms.FORMS`; None: as each one's chat template says."""
    reasoning_format: ReasoningFormat = "auto"
    """auto: what a model thinks is told apart from its answer, where its chat template has marks for it;
    none: it stays in the text."""
    version: str = ""
    """Of the model; part of its fingerprint."""
    tools: ToolsConfig = field(default_factory=ToolsConfig)
    retrieve: str | None = None
    """`INDEX[:K]`: whose passages are put before questions."""
    passages: PassagesConfig = field(default_factory=PassagesConfig)
    behind_router: bool = False
    """Whether only a router asks, which has the keys and the queue. On a Unix socket."""

    @property
    def listens_on(self) -> str | None:
        """The host; None: a Unix socket."""
        return self.host if self.unix_socket is None else None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("TLS needs a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
        if self.unix_socket is not None and self.tls_key is not None:
            raise ConfigError("TLS on a Unix socket", hint="leave out one of them")
        if self.unix_socket is not None and (self.host, self.port) != (ServeConfig.host, ServeConfig.port):
            raise ConfigError("a host and a port beside a Unix socket", hint="leave out --host and --port")
        if self.retrieve is None and self.passages != PassagesConfig():
            raise ConfigError("--retrieve-... does nothing without an index", hint="--retrieve INDEX")
        if self.behind_router and self.unix_socket is None:
            raise ConfigError("a worker of a router listens on a Unix socket", hint="--replicas starts them")
        if self.log_prompts and self.log is None:
            raise ConfigError("--log-prompts does nothing without --log", hint="add --log FILE")
        for name in ("queue_requests", "queue_tokens", "long_prompt_tokens", "long_places", "prompt_workers"):
            if getattr(self, name) < 1:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{flag} must be at least 1 (found {getattr(self, name)})", hint=f"{flag} 1"
                )
        for origin in self.cors:
            if (told := as_browsers_write(origin)) != origin:
                raise ConfigError(
                    f"--cors {origin}: no page's origin as browsers write it",
                    hint=f"--cors {told or 'https://chat.example'}",
                )
        if not 0 <= self.port <= 65_535:
            raise ConfigError(
                f"--port must be from 0 to 65535 (found {self.port})", hint="--port 0: any free one"
            )
        if 0 < self.response_bytes < LEAST_RESPONSE_BYTES:
            raise ConfigError(
                f"--response-bytes must be 8 MiB or more, or 0 (found {self.response_bytes:,} bytes)",
                hint="--response-bytes 64MiB",
            )
        for name in ("drain_seconds", "prompt_seconds", "response_seconds"):
            if not 0 < getattr(self, name) < inf:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{flag} must be above 0, and end (found {getattr(self, name)})", hint=f"{flag} 10"
                )
