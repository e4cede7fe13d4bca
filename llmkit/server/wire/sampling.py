"""Parameters that OpenAI's text endpoints share, and ours beside them, as settings of the sampler."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from llmkit.engine.config import NUMBERS, SamplingConfig
from llmkit.errors import ConfigError
from llmkit.server.errors import refused
from llmkit.server.wire.names import TEXTS, named_error
from llmkit.server.wire.rules import RuleFields, read_rule, rule_names


@dataclass(frozen=True)
class WireLimits:
    """How much one request may ask for."""

    answers: int = 16
    """Texts, prompts times `n`."""
    logprobs: int = 20
    scores: int = 1 << 18
    """Log probabilities of all its answers: of each token and of the alternatives to it. A server keeps them
    until they are sent, some hundred bytes each."""
    stop_strings: int = 16
    stop_bytes: int = 1024
    """Of one stop string."""
    rule_bytes: int = 65_536
    """Of a schema, an expression, a grammar, or a list of choices."""
    bias_ids: int = 1024
    breaks: int = 64
    """Texts that break repetitions."""
    break_bytes: int = 64
    """Of one of them."""


class SamplingFields(RuleFields, kw_only=True, forbid_unknown_fields=True):
    """The fields of every request for text; None is what the server does anyway."""

    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    """The same, as OpenAI's chats have it; guidellm says both of texts too."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    adaptive_target: float | None = None
    adaptive_decay: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_last_n: int | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    include_stop_str_in_output: bool | None = None
    seed: int | None = None
    n: int | None = None
    samplers: list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    cache_salt: str | None = None
    priority: int | None = None
    store: Any = None
    metadata: Any = None
    service_tier: Any = None
    prompt_cache_retention: Any = None


HINTS = ("prompt_cache_key",)
"""Parameters that change no text. Every prompt is looked for in the cache without them; a router sends what
has the same ones to the same worker."""
RETENTIONS = ("in_memory", "in-memory", "24h")
"""How long the cache may keep a prompt at most: it does for as long as there is room for it."""
SAYS_NOTHING: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
    "prompt_cache_retention": RETENTIONS,
}
"""Parameters that are not done here, with the values that ask for nothing; null never does."""

_AS_THEY_ARE = (*(name for name in NUMBERS if name != "samples"), "ignore_eos")
"""Parameters with the name and the values of the sampler's settings."""


def the_most_tokens(max_tokens: int | None, max_completion_tokens: int | None) -> int | None:
    """What a request says of the tokens of an answer, which may have two names; None: nothing.

    Raises:
        ApiError: 400: they contradict each other.
    """
    if None not in (max_tokens, max_completion_tokens) and max_tokens != max_completion_tokens:
        raise refused("max_tokens", "contradicts max_completion_tokens")
    return max_tokens if max_completion_tokens is None else max_completion_tokens


def read_sampling(
    told: SamplingFields, base: SamplingConfig, limits: WireLimits, *, max_tokens: int
) -> SamplingConfig:
    """The sampler's settings of a request.

    Args:
        told: the request.
        base: what holds where it says nothing.
        limits: how much it may ask for.
        max_tokens: what holds where it does not say how many.

    Raises:
        ApiError: 400, naming the parameter.
    """
    if told.seed == -1:  # llama.cpp's way, and vLLM's, of asking for any
        told.seed = None
    given: dict[str, Any] = {"max_tokens": max_tokens, "samples": 1}
    for name in _AS_THEY_ARE:
        if (value := getattr(told, name)) is not None:
            given[name] = value
    if told.top_k == -1:  # vLLM's way of saying that it is off
        given["top_k"] = 0
    if told.n is not None:
        if not 1 <= told.n <= limits.answers:
            raise refused("n", f"between 1 and {limits.answers} (found {told.n})")
        given["samples"] = told.n
    if told.samplers is not None:
        given["samplers"] = tuple(told.samplers)
    if told.stop is not None:
        given["stop"] = _stops(told.stop, limits)
    if told.dry_sequence_breakers is not None:
        given["dry_sequence_breakers"] = _breaks(told.dry_sequence_breakers, limits)
    if told.stop_token_ids is not None:  # vLLM's name
        if len(told.stop_token_ids) > limits.stop_strings:
            raise refused("stop_token_ids", f"at most {limits.stop_strings} ids")
        given["stop_ids"] = tuple(told.stop_token_ids)
    if told.logit_bias is not None:
        given["logit_bias"] = _bias(told.logit_bias, limits)
    given |= read_rule(told, limits.rule_bytes)
    try:
        return replace(base, **given)
    except ConfigError as error:
        raise named_error(error, _names(told, limits)) from None


def _names(told: SamplingFields, limits: WireLimits) -> dict[str, str]:
    """What a request calls the settings that have other names inside."""
    return TEXTS | rule_names(told, limits.rule_bytes)


def refuse_what_is_not_done(told: msgspec.Struct, harmless: dict[str, tuple[Any, ...]]) -> None:
    """Refuse parameters that change something elsewhere and nothing here, unless they ask for nothing.

    Raises:
        ApiError: 400, naming the parameter.
    """
    for name, values in harmless.items():
        value = getattr(told, name)
        if value is not None and value not in values:
            raise refused(name, "is not done here", code="unsupported_parameter")


def read_alike(told: SamplingFields, sampling: SamplingConfig, limits: WireLimits) -> dict[str, Any]:
    """What chats and completions say alike, as fields of an Ask.

    Raises:
        ApiError: 400: more tokens at least than at most, or see `read_stream_options`.
    """
    least = told.min_tokens or 0
    if not 0 <= least <= sampling.max_tokens:
        raise refused("min_tokens", f"from 0 to max_tokens, {sampling.max_tokens:,} (found {least:,})")
    usage, continuous = read_stream_options(told.stream_options, stream=bool(told.stream))
    return {
        "model": told.model or "",
        "sampling": sampling,
        "stream": bool(told.stream),
        "stream_usage": usage,
        "continuous_usage": continuous,
        "min_tokens": least,
        "shows_stop": bool(told.include_stop_str_in_output),
        "priority": told.priority or 0,
        "user": told.user or told.safety_identifier or "",
        "cache_salt": told.cache_salt or "",
        "seed_given": told.seed is not None,
        "names": _names(told, limits),
    }


def read_stream_options(options: dict[str, Any] | None, *, stream: bool) -> tuple[bool, bool]:
    """(whether usage comes last, whether it comes with each event).

    Raises:
        ApiError: 400: an option that is not known, or options without a stream.
    """
    if options is None:
        return False, False
    if not stream:
        raise refused("stream_options", "only with stream: true")
    known = ("include_usage", "continuous_usage_stats", "include_obfuscation")
    for name, value in options.items():
        if name not in known:
            param = f"stream_options.{name}"
            raise refused(param, "no such parameter here", code="unknown_parameter")
        if not isinstance(value, bool):
            raise refused(f"stream_options.{name}", "true or false")
    if options.get("include_obfuscation"):
        param = "stream_options.include_obfuscation"
        raise refused(param, "is not done here", code="unsupported_parameter")
    return bool(options.get("include_usage")), bool(options.get("continuous_usage_stats"))


def check_logprobs(name: str, count: int, limits: WireLimits) -> int:
    """A number of alternatives that may be asked for.

    Raises:
        ApiError: 400, naming the parameter.
    """
    if not 0 <= count <= limits.logprobs:
        raise refused(name, f"between 0 and {limits.logprobs} (found {count})")
    return count


def check_scores(name: str, count: int, tokens: int, limits: WireLimits) -> None:
    """Refuse more scores than a request may ask for.

    Args:
        name: of the parameter.
        count: alternatives that are asked for.
        tokens: with scores, of all answers.
        limits: how much a request may ask for.

    Raises:
        ApiError: 400, naming the parameter.
    """
    scores = (count + 1) * tokens
    if scores > limits.scores:
        raise refused(
            name,
            f"{count + 1} scores for each of up to {tokens:,} tokens are {scores:,}, and a request may ask "
            f"for {limits.scores:,}",
        )


def _stops(stop: str | list[str], limits: WireLimits) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(stops) > limits.stop_strings:
        raise refused("stop", f"at most {limits.stop_strings} strings (found {len(stops)})")
    for one in stops:
        if not one or len(one.encode()) > limits.stop_bytes:
            raise refused("stop", f"strings of 1 to {limits.stop_bytes} bytes")
    return stops


def _breaks(told: list[str], limits: WireLimits) -> tuple[str, ...]:
    name = "dry_sequence_breakers"
    if len(told) > limits.breaks:
        raise refused(name, f"at most {limits.breaks} strings (found {len(told)})")
    if any(not one or len(one.encode()) > limits.break_bytes for one in told):
        raise refused(name, f"strings of 1 to {limits.break_bytes} bytes")
    return tuple(told)


def _bias(told: dict[str, float], limits: WireLimits) -> tuple[tuple[int, float], ...]:
    if len(told) > limits.bias_ids:
        raise refused("logit_bias", f"at most {limits.bias_ids} ids (found {len(told)})")
    bias = []
    for key, value in told.items():
        if not key.isascii() or not key.isdigit() or len(key) > 9:
            raise refused("logit_bias", f"keys are token ids (found {key[:40]!r})")
        bias.append((int(key), value))
    return tuple(bias)


def check_answers(prompts: int, samples: int, limits: WireLimits, params: Iterable[str]) -> None:
    """Refuse more texts than a request may ask for.

    Raises:
        ApiError: 400, naming the first of `params`.
    """
    if prompts * samples > limits.answers:
        name = next(iter(params))
        raise refused(name, f"at most {limits.answers} answers a request (found {prompts * samples})")
