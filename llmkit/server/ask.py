"""What is asked of a model, whatever words it was asked in: each endpoint's body becomes this. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmkit.engine.config import SamplingConfig
from llmkit.server.wire.lora import LoraScale

Kind = Literal["text", "chat"]
Passages = Literal["off", "on", "required"]


@dataclass(frozen=True)
class ToolChoice:
    """Whether the model may, must or must not call a function."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    """The one that it must call; only with `required`."""


@dataclass(frozen=True)
class LineRule:
    """What ends a text that fills a gap in a program, behind its first line."""

    indent: int = 0
    """Spaces and tabs that each line begins with at least; one with fewer is cut off, and ends it."""
    seconds: float = 0.0
    """From its first token on; 0: any time."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request for texts. Of `texts`, `ids` and `messages`, one is set.

    An Ask with several prompts gets as many answers, times `sampling.samples`, numbered prompt by prompt.
    """

    kind: Kind
    model: str
    """As the client wrote it: `NAME`, or `NAME:ADAPTER`."""
    sampling: SamplingConfig
    texts: tuple[str, ...] = ()
    """Prompts as text."""
    suffix: str | None = None
    """What comes after the text that is asked for, which fills the gap behind each of `texts`; None: nothing,
    and there is no gap."""
    files: tuple[tuple[str, str], ...] = ()
    """Names and texts of other files, told before one with a gap."""
    marks: bool = False
    """Whether what looks like a special token in `texts` is one, as a whole conversation that a client has
    rendered itself has them; what ends a turn of it then ends the text."""
    lora: tuple[LoraScale, ...] | None = None
    """Adapters by their numbers, in place of one behind the model's name; None: nothing is said of any."""
    lines: LineRule | None = None
    """When the text ends by its lines; None: never."""
    ids: tuple[tuple[int, ...], ...] = ()
    """Prompts as token ids."""
    messages: tuple[dict[str, Any], ...] = ()
    """A conversation; contents in one piece, roles as templates know them."""
    tools: tuple[dict[str, Any], ...] = ()
    """JSON schemas of the functions that the model may call, as OpenAI writes them."""
    server_tools: bool = False
    """Whether they are the server's, which calls them itself."""
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    passages: Passages = "off"
    """Whether passages of the server's index are put before the question. `off`: never; `on`: where there is
    an index; `required`: always, and it is an error if there is no index."""
    template_kwargs: dict[str, Any] = field(default_factory=dict)
    """For the chat template, only what is on its list of what may be said."""
    thinking_budget: int | None = None
    """Tokens that may be thought before an answer; None: any number."""
    prefill: str = ""
    """What the reply begins with."""
    stream: bool = False
    stream_usage: bool = False
    """Whether the last event says how many tokens there were."""
    continuous_usage: bool = False
    """Whether each event does."""
    echo: bool = False
    """Whether the prompt comes out too, with its scores where those are asked for."""
    score_only: bool = False
    """Whether nothing is to be drawn: `max_tokens: 0` with echo."""
    min_tokens: int = 0
    """Tokens before which nothing ends a text."""
    shows_stop: bool = False
    """Whether the stop string that ends a text is part of it."""
    priority: int = 0
    """Lower ones go first; what a key may ask for, its settings say."""
    user: str = ""
    """On whose behalf; for the log."""
    cache_salt: str = ""
    """Texts of the same key with another one find nothing of each other in the cache."""
    seed_given: bool = False
    """Whether the client chose the seed; else each request has one of its own."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the request calls settings that have other names here; errors are told in its words."""
    echoed: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the answer tells again, in the request's words."""

    @property
    def offered_tools(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model is told of: those that it may call."""
        return () if self.tool_choice.mode == "none" else self.tools

    @property
    def is_held(self) -> bool:
        """Whether a rule holds the answer from its beginning."""
        return self.sampling.rule is not None or self.tool_choice.mode == "required"

    @property
    def adapter(self) -> str | None:
        """What stands behind the colon of the model's name; None: the base alone."""
        return self.model.partition(":")[2] or None

    @property
    def num_prompts(self) -> int:
        """Prompts that are answered."""
        return len(self.texts) or len(self.ids) or 1

    @property
    def num_answers(self) -> int:
        """Texts that come back."""
        return self.num_prompts * self.sampling.samples
