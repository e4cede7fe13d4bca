"""Settings of a load on a server: torch-free, so that flags can show their defaults."""

from dataclasses import dataclass

from llmkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BenchServeConfig:
    """What is sent, and how.

    Raises:
        ConfigError: settings that exclude each other.
    """

    concurrency: int = 8
    """Requests under way at any time, where no rate is given."""
    rate: float | None = None
    """Requests a second on average, at random; None: `concurrency` at once."""
    requests: int | None = None
    """After which none begins; None: `seconds` says when, or the end of a file of prompts."""
    seconds: float | None = None
    prompt_tokens: int = 128
    """Of a short prompt, about; what the server counts is reported."""
    max_tokens: int = 64
    """Written for a short prompt."""
    long_prompt_tokens: int = 2000
    long_max_tokens: int = 64
    long_share: float = 0.0
    """Of the requests, those with a long prompt."""
    shared_tokens: int = 0
    """At the start of every prompt, the same ones, as a system prompt is."""
    chat: bool = False
    """Whether they go to the endpoint for conversations."""
    stream: bool = True
    ignore_eos: bool = True
    """Whether every text is as long as it may be; not every server knows the word."""
    ttft_target: float | None = None
    """Seconds within which a first text is good."""
    timeout_seconds: float = 600.0
    """Of a request."""
    seed: int = 0
    fail_slower: float = 0.1
    """Share by which it may be slower than a baseline."""

    def __post_init__(self) -> None:
        if self.rate is not None and not self.rate > 0:
            raise ConfigError(f"--rate must be above 0 (found {self.rate})", hint="--rate 2")
        if not 0 <= self.long_share <= 1:
            raise ConfigError(
                f"--long-share must be between 0 and 1 (found {self.long_share})", hint="--long-share 0.1"
            )
        if self.ttft_target is not None and not self.stream:
            raise ConfigError(
                "--ttft-target needs streams: an answer in one piece has no first text",
                hint="leave out --no-stream",
            )
