"""How a text is drawn from a model: torch-free, so that flags can show their defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from llmkit.errors import ConfigError, UsageError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
KVDtype = Literal["auto", "float32", "bfloat16", "int8"]
Kernels = Literal["auto", "native", "torch"]
Weights = Literal["stored", "int8", "int4"]
GREEDY_BELOW = 1e-5
"""Temperatures below this are 0: dividing by them would overflow."""
MIN_PENALTY = 1e-6
"""Of what scores are divided by: with less they would overflow."""
MAX_LOGPROBS = 1000
SAMPLERS = ("temperature", "top_n_sigma", "top_k", "top_p", "min_p", "typical_p", "xtc_probability")
"""Steps that shape the distribution, in transformers' order; of llama.cpp's, one before and one behind."""
MAX_SEED = (1 << 63) - 1
NO_RULE: dict[str, Any] = {"json_schema": None, "regex": None, "choice": (), "grammar": None}
"""The settings that say what a text must be, each with the value that says nothing."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """One request's settings. Steps apply in the order of the fields that name them, as in transformers:
    bias, penalties, DRY, grammar, temperature, top-n-sigma, top-k, top-p, min-p, typical-p, xtc, and
    adaptive-p or mirostat; `samplers` reorders those from temperature to xtc.

    Raises:
        ConfigError: a value is out of range.
    """

    max_tokens: int = 256
    """Tokens to draw at most; a text also ends where the model's context does."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids, and what is added to their scores."""
    repetition_penalty: float = 1.0
    """Scores of tokens seen in prompt or text are divided by it if positive, else multiplied; 1 is off."""
    presence_penalty: float = 0.0
    """Taken off the scores of tokens that the text has."""
    frequency_penalty: float = 0.0
    """The same for each time the text has it."""
    repeat_last_n: int = -1
    """Tokens of prompt and text that these three look at, the last ones; -1: all; 0 is off."""
    dry_multiplier: float = 0.0
    """Taken off the scores of tokens that would go on with a repetition of `dry_allowed_length` tokens, and
    `dry_base` times as much for each token that it is longer; 0 is off."""
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    """Tokens of prompt and text that are looked at, the last ones; -1: all; 0 is off."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """Texts over which no repetition goes."""
    json_schema: str | None = None
    """A schema as JSON, under which the text is valid."""
    regex: str | None = None
    """A regular expression that the whole text matches."""
    choice: tuple[str, ...] = ()
    """Texts, of which it is one."""
    grammar: str | None = None
    """A grammar that derives the text: GBNF, or llguidance's Lark."""
    temperature: float = 0.8
    """Scores are divided by it; 0 takes the best token always."""
    top_n_sigma: float = 0.0
    """Only tokens whose scores are within so many standard deviations of the best; 0 is off."""
    top_k: int = 0
    """Only the k best tokens; 0 is off."""
    top_p: float = 1.0
    """Only the best tokens that have this much probability together; 1 is off."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the best; 0 is off."""
    typical_p: float = 1.0
    """Only the tokens that surprise as much as the model expects to be, up to this probability; 1 is off."""
    xtc_probability: float = 0.0
    """How often, of all tokens as likely as `xtc_threshold`, only the least likely can be drawn; 0 is off."""
    xtc_threshold: float = 0.1
    samplers: tuple[str, ...] = SAMPLERS
    """The order of these steps; one that is off need not be there."""
    adaptive_target: float = -1.0
    """The probability that tokens have on average, among those that are left, as they are drawn; below 0 is
    off."""
    adaptive_decay: float = 0.9
    """How much less a token counts for that than the next one."""
    mirostat: int = 0
    """Only tokens that, as they are drawn, surprise by `mirostat_tau` bits on average, among those that are
    left: 1 or 2, the method's version; 0 is off."""
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    """How much of the last token's distance from that changes the limit."""
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""
    stop_ids: tuple[int, ...] = ()
    """The text ends with one of these tokens too, also where those of the model are ignored."""
    ignore_eos: bool = False
    """Whether to go on after a token that ends a text."""
    seed: int = 0
    samples: int = 1
    """Texts of one prompt."""
    logprobs: int | None = None
    """Alternatives to report for each token with the log probabilities of the model itself; None: nothing."""

    def __post_init__(self) -> None:
        self._require("max_tokens", self.max_tokens >= 1, "at least 1")
        self._require("logit_bias", all(abs(x) < 1e6 for _, x in self.logit_bias), "numbers below 1e6")
        self._require(
            "repetition_penalty", MIN_PENALTY <= self.repetition_penalty < 1e6, "1e-6 or above, and below 1e6"
        )
        self._require("presence_penalty", abs(self.presence_penalty) < 1e6, "above -1e6 and below 1e6")
        self._require("frequency_penalty", abs(self.frequency_penalty) < 1e6, "above -1e6 and below 1e6")
        self._require("repeat_last_n", self.repeat_last_n >= -1, "-1 (all), 0 (off) or above")
        self._require("dry_multiplier", 0 <= self.dry_multiplier < 1e6, "0 (off) or above, and below 1e6")
        self._require("dry_base", 1 <= self.dry_base < 1e6, "1 or above, and below 1e6")
        self._require("dry_allowed_length", self.dry_allowed_length >= 1, "at least 1")
        self._require("dry_penalty_last_n", self.dry_penalty_last_n >= -1, "-1 (all), 0 (off) or above")
        self._require("dry_sequence_breakers", all(self.dry_sequence_breakers), "not empty")
        self._require("temperature", 0 <= self.temperature < 1e6, "0 or above, and below 1e6")
        self._require("top_k", self.top_k >= 0, "0 (off) or above")
        self._require("top_p", 0 < self.top_p <= 1, "above 0 and at most 1")
        self._require("min_p", 0 <= self.min_p <= 1, "between 0 and 1")
        self._require("typical_p", 0 < self.typical_p <= 1, "above 0 and at most 1")
        self._require("top_n_sigma", 0 <= self.top_n_sigma < 1e6, "0 (off) or above, and below 1e6")
        self._require("xtc_probability", 0 <= self.xtc_probability <= 1, "between 0 and 1")
        self._require("xtc_threshold", 0 < self.xtc_threshold <= 1, "above 0 and at most 1")
        self._require(
            "adaptive_target", -1e6 < self.adaptive_target <= 1, "above -1e6 (below 0: off), at most 1"
        )
        self._require("adaptive_decay", 0 <= self.adaptive_decay <= 0.99, "between 0 and 0.99")
        self._require("mirostat", self.mirostat in (0, 1, 2), "0 (off), 1 or 2")
        self._require("mirostat_tau", 0 <= self.mirostat_tau < 1e6, "0 or above, and below 1e6")
        self._require("mirostat_eta", 0 <= self.mirostat_eta <= 1, "between 0 and 1")
        if self.mirostat and self.adaptive_target >= 0:
            told = "mirostat and adaptive_target exclude each other"
            raise ConfigError(told, hint="--adaptive-target -1, or --mirostat 0, turns one off")
        self._require("choice", all(self.choice), "not empty")
        self._require("stop", all(self.stop), "not empty")
        self._require("seed", 0 <= self.seed <= MAX_SEED, "from 0 to 2^63 - 1")
        self._require("samples", self.samples >= 1, "at least 1")
        self._require("logprobs", 0 <= (self.logprobs or 0) <= MAX_LOGPROBS, f"between 0 and {MAX_LOGPROBS}")

        known = len(set(self.samplers)) == len(self.samplers) and set(self.samplers) <= set(SAMPLERS)
        self._require("samplers", known, f"some of {', '.join(SAMPLERS)}, each once")
        off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
        off |= {"top_n_sigma": 0.0, "xtc_probability": 0.0}
        for name in set(off) - set(self.samplers):
            if getattr(self, name) != off[name] and not self.is_greedy:
                raise ConfigError(
                    f"samplers leave out {name}, which is {getattr(self, name)}",
                    hint=f"name it too, or --{name.replace('_', '-')} {off[name]:g} turns it off",
                )

        if len(rules := self._rules) > 1:
            flags = [f"--{name.replace('_', '-')}" for name, _ in rules]
            raise ConfigError(f"{flags[0]} and {flags[1]} exclude each other", hint="give one of them")

    @property
    def rule(self) -> tuple[str, str | tuple[str, ...]] | None:
        """What the text must be: which of json_schema, regex, choice and grammar is set, and its value."""
        return next(iter(self._rules), None)

    @property
    def _rules(self) -> list[tuple[str, str | tuple[str, ...]]]:
        rules = {name: getattr(self, name) for name in NO_RULE}
        return [(name, value) for name, value in rules.items() if value != NO_RULE[name]]

    @property
    def is_greedy(self) -> bool:
        """Whether chance has no part in it."""
        return self.temperature < GREEDY_BELOW

    @property
    def has_penalties(self) -> bool:
        """Whether what was written changes the scores."""
        told = self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0
        return told and self.repeat_last_n != 0

    @property
    def has_dry(self) -> bool:
        """Whether repetitions are looked for."""
        return self.dry_multiplier > 0 and self.dry_penalty_last_n != 0

    @property
    def is_adaptive(self) -> bool:
        """Whether tokens are drawn for the probability that they have."""
        return self.adaptive_target >= 0 and not self.is_greedy

    @property
    def has_mirostat(self) -> bool:
        """Whether tokens are drawn for how much they surprise."""
        return self.mirostat > 0 and not self.is_greedy

    @property
    def has_breaks(self) -> bool:
        """Whether there are texts over which no repetition goes."""
        return self.has_dry and bool(self.dry_sequence_breakers)

    @property
    def needs_text(self) -> bool:
        """Whether tokens must be known as text."""
        return bool(self.stop) or self.rule is not None or self.has_breaks

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            example = _EXAMPLES.get(name, SamplingConfig.__dataclass_fields__[name].default)
            raise ConfigError(
                f"{name} must be {wanted} (found {getattr(self, name)!r})",
                hint=f"--{_FLAGS.get(name, name.replace('_', '-'))} {example}",
            )


_EXAMPLES = {
    "samplers": "top_k,top_p,temperature",
    "stop": "TEXT",
    "choice": "TEXT",
    "logprobs": "5",
    "logit_bias": "ID=-100",
    "dry_sequence_breakers": "none",
}
"""For hints, where the default is no example."""
_FLAGS = {"dry_sequence_breakers": "dry-sequence-breaker"}
"""Where a field's flag is not its name."""
NUMBERS: dict[str, Any] = {one.name: one.type for one in fields(SamplingConfig) if one.type in (int, float)}
"""The settings of one request that are a number each, in their order, and which kind of number."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What `llmkit generate` does beside drawing tokens."""

    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields of SamplingConfig that were given; the others come from the model's generation_config.json."""
    chat: bool = False
    """Whether a prompt is a user's message, to be put into the chat template."""
    system: str | None = None
    """A system message for chats that have none."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is told beside the conversation, such as enable_thinking."""
    allow_special: bool = False
    """Whether what looks like a special token in a plain prompt becomes it, as it does in a rendered chat."""
    echo: bool = False
    """Whether the prompt comes out too, before the text."""
    prefill: str | None = None
    """What the reply in a chat begins with."""
    suffix: str | None = None
    """What comes after the text, which fills the gap behind a plain prompt."""
    extract_code: bool = False
    """Whether only the first code block of a text comes out; in records, beside the text."""
    mark_below: float | None = None
    """In bare text, tokens that the model gave a lower probability than this are coloured."""
    require: str | None = None
    """A regular expression that every text must match somewhere."""
    as_json: bool = False
    dtype: Dtype = "auto"
    """Of weights and arithmetic; auto: as the model is stored."""
    kv_dtype: KVDtype = "auto"
    """Of keys and values; auto: of the arithmetic. int8: codes, and a float32 scale by position and head."""
    rope_scaling: str | None = None
    """In place of the model's own, as `model/extend_context.py` reads it: `yarn:4`; None: the model's own."""
    kernels: Kernels = "auto"
    """What computes; auto: our own kernels, where they are built and have every part of the model."""
    weights: Weights = "stored"
    """Rounded as they are loaded, in groups of 32 with a float16 scale, by the native kernels."""
    device: str = "auto"
    threads: int | None = None
    """None: what the size of the model asks for."""
    unbuffered: bool = False
    unordered: bool = False
    """Whether records come out as they are complete, not in the order of their rows."""
    batch: int | None = None
    """Texts at work at once; None: as many as are worth it and fit into memory."""
    draft: str = "off"
    """What guesses at tokens ahead: `lookup`, which looks for the text's last tokens further up, or the path
    of a smaller model; `off`: nothing does."""
    draft_tokens: int | None = None
    """Guesses at once; None: as many as are usual for what guesses."""
    adapters: tuple[str, ...] = ()
    """Each NAME=PATH or NAME=PATH:STRENGTH, beside the model; one alone is every text's."""
    cache_offload: int = 0
    """Bytes of host memory for keys and values that the cache has no room for; 0: they are forgotten."""
    tp: int = 1
    """Processes that have a part of the model each; they share the threads, or have a GPU each."""

    def __post_init__(self) -> None:
        if self.tp < 1:
            raise ConfigError(f"--tp must be at least 1 (found {self.tp})", hint="--tp 2")
        if self.mark_below is not None and not 0 < self.mark_below <= 1:
            raise UsageError(
                f"--mark-below {self.mark_below}: a probability is above 0 and at most 1",
                hint="--mark-below 0.1",
            )
        if self.require is not None:
            try:
                re.compile(self.require)
            except re.error as error:
                raise UsageError(
                    f"--require {self.require!r} is no regular expression: {error}",
                    hint="escape what is meant literally: --require 'f\\(x\\)'",
                ) from None
