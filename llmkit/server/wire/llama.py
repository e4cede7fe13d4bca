"""What llama.cpp's own endpoints take and tell alike, and `/completion`, its endpoint for plain prompts.

Source: llama.cpp, tools/server/README.md, "POST /completion".
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from llmkit.engine.config import SAMPLERS, SamplingConfig
from llmkit.server.answer import Piece, TokenScore, Usage
from llmkit.server.ask import Ask, LineRule
from llmkit.server.errors import refused
from llmkit.server.wire.completions import LEAST_LOGPROB, read_prompts
from llmkit.server.wire.lora import LoraScale, check_scales
from llmkit.server.wire.sampling import (
    SAYS_NOTHING,
    SamplingFields,
    WireLimits,
    check_logprobs,
    read_alike,
    read_sampling,
    refuse_what_is_not_done,
    the_most_tokens,
)

LLAMA = ("/completion", "/infill")
"""Paths whose answers are told in llama.cpp's words."""
HARMLESS: dict[str, tuple[Any, ...]] = SAYS_NOTHING | {
    **{"return_tokens": (False,), "timings_per_token": (False,)},
    **{"post_sampling_probs": (False,), "return_progress": (False,), "n_cmpl": (1,), "min_keep": (0,)},
    **{"dynatemp_range": (0,), "dynatemp_exponent": (1,)},
}
"""Parameters that are not done here, with the values that ask for nothing."""
ELSEWHERE = {"typ_p": "typical_p", "xtc": "xtc_probability"}
"""Steps of the sampler that llama.cpp calls otherwise."""
OWN_PLACE = ("penalties", "dry", "infill", "adaptive_p")
"""Steps that are no part of the order here: the first two are before all others, where they are on. `infill`
keeps its model from ending a text early or late; here the marks of a gap end it."""
_LEFT_OUT: dict[str, float] = {
    **{"temperature": 1.0, "top_n_sigma": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0},
    "xtc_probability": 0.0,
}
"""What a step does that an order leaves out: nothing."""


class LlamaFields(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """The fields of each of these endpoints."""

    n_predict: int | None = None
    n_indent: int | None = None
    t_max_predict_ms: int | None = None
    repeat_penalty: float | None = None
    """Ours is repetition_penalty."""
    n_probs: int | None = None
    """Alternatives that come with each token's log probability; 0: neither do."""
    response_fields: list[str] | None = None
    id_slot: int | None = None
    cache_prompt: bool | None = None
    n_keep: int | None = None
    n_cache_reuse: int | None = None
    t_max_prompt_ms: int | None = None
    """Of these five none changes a text: the cache is always looked into, and llama.cpp bounds no prompt
    either."""
    lora: list[LoraScale] | None = None
    """Adapters, and their scales; empty: it says nothing."""
    return_tokens: Any = None
    timings_per_token: Any = None
    post_sampling_probs: Any = None
    return_progress: Any = None
    n_cmpl: Any = None
    min_keep: Any = None
    dynatemp_range: Any = None
    dynatemp_exponent: Any = None


class LlamaRequest(LlamaFields, kw_only=True, forbid_unknown_fields=True):
    """The body of `/completion`."""

    prompt: str | list[Any]


def read_llama(told: LlamaRequest, base: SamplingConfig, limits: WireLimits, *, max_tokens: int) -> Ask:
    """What a body of `/completion` asks for: what looks like a special token in its prompt is one.

    Args, Raises: see `read_alike_llama`.
    """
    texts, ids = read_prompts(told.prompt)
    if len(texts) + len(ids) > 1:
        raise refused("prompt", f"one a request (found {len(texts) + len(ids)})")
    alike = read_alike_llama(told, base, limits, max_tokens=max_tokens)
    return Ask(kind="text", texts=texts, ids=ids, marks=True, **alike)


def read_alike_llama(
    told: LlamaFields, base: SamplingConfig, limits: WireLimits, *, max_tokens: int
) -> dict[str, Any]:
    """What these endpoints say alike, as fields of an Ask.

    Args:
        told: the body, decoded.
        base: settings that hold where it says nothing.
        limits: how much it may ask for.
        max_tokens: of a text that says no number.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    refuse_what_is_not_done(told, HARMLESS)
    if told.n not in (None, 1):
        raise refused("n", f"one text a request (found {told.n})")
    told.max_tokens = the_most_tokens(told.max_tokens, told.max_completion_tokens)
    if told.n_predict is not None:
        if told.max_tokens not in (None, told.n_predict):
            raise refused("max_tokens", "contradicts n_predict")
        told.max_tokens = max(1, told.n_predict) if told.n_predict >= 0 else None  # -1: no bound
    if told.repeat_penalty is not None:
        if told.repetition_penalty not in (None, told.repeat_penalty):
            raise refused("repetition_penalty", "contradicts repeat_penalty")
        told.repetition_penalty = told.repeat_penalty
    if told.top_n_sigma == -1:  # clients send back all that /props tells there: off, and no grammar
        told.top_n_sigma = 0.0
    told.grammar = told.grammar or None
    for name in ("n_indent", "t_max_predict_ms"):
        if (getattr(told, name) or 0) < 0:
            raise refused(name, f"0 (off) or above (found {getattr(told, name)})")
    _read_order(told)
    check_scales(told.lora or ())
    scores = check_logprobs("n_probs", told.n_probs or 0, limits) or None
    sampling = replace(read_sampling(told, base, limits, max_tokens=max_tokens), logprobs=scores)
    lines = LineRule(told.n_indent or 0, (told.t_max_predict_ms or 0) / 1000)
    alike = read_alike(told, sampling, limits)
    alike["names"] = {**alike["names"], "logprobs": "n_probs"}
    return {"lines": lines, "lora": tuple(told.lora) if told.lora else None, **alike}


def _read_order(told: LlamaFields) -> None:
    """The order of the sampler's steps, as it is here; what it leaves out does nothing, if not asked for.

    Raises:
        ApiError: 400: a step is not known.
    """
    if told.samplers is None:
        return
    steps = [ELSEWHERE.get(one, one) for one in told.samplers if one not in OWN_PLACE]
    for one in steps:
        if one not in SAMPLERS:
            raise refused("samplers", f"no step {one!r} here (there are: {', '.join(SAMPLERS)})")
    for name, nothing in _LEFT_OUT.items():
        if name not in steps and getattr(told, name) is None:
            setattr(told, name, nothing)
    told.samplers = steps


def llama_object(
    model: str,
    pieces: Sequence[Piece],
    usage: Usage,
    told: LlamaFields,
    seconds: tuple[float, float],
    *,
    streamed: bool = False,
) -> dict[str, Any]:
    """The answer in one piece, and the last event of a stream.

    Args:
        model: that wrote it.
        pieces: of it.
        usage: tokens.
        told: the body.
        seconds: from the request's arrival to the first token, and from there on.
        streamed: the text came before, and is not told again.
    """
    last = pieces[-1]
    pieces = () if told.n_predict == 0 else pieces
    text = "".join(piece.text for piece in pieces)
    ended = "limit" if last.finish != "stop" else "eos" if last.matched is None else "word"
    answer = {
        "stop": True,
        "index": 0,
        "content": "" if streamed else text,
        "model": model,
        "tokens_predicted": usage.completion_tokens,
        "tokens_evaluated": usage.prompt_tokens,
        "tokens_cached": usage.cached_tokens,
        "has_new_line": "\n" in text,
        "truncated": False,
        "stop_type": ended,
        "stopping_word": last.matched or "",
        "timings": _timings(usage, *seconds),
    }
    if told.n_probs and not streamed:
        answer["completion_probabilities"] = _probabilities(pieces)
    return answer if told.response_fields is None else _some(answer, told.response_fields)


def llama_chunk(piece: Piece) -> dict[str, Any]:
    """A piece of the answer, as an event."""
    told = {"completion_probabilities": _probabilities([piece])} if piece.scores else {}
    return {"index": 0, "content": piece.text, "stop": False, **told}


def _probabilities(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """The model's own, in nats, whatever the sampler made of them; of each token and the likeliest ones."""
    scores = [score for piece in pieces for score in piece.scores]
    return [_spelled(one) | {"top_logprobs": list(map(_spelled, one.top))} for one in scores]


def _spelled(score: TokenScore) -> dict[str, Any]:
    return {
        "id": score.id,
        "token": score.text,
        "bytes": list(score.content),
        "logprob": LEAST_LOGPROB if score.logprob is None else max(score.logprob, LEAST_LOGPROB),
    }


def _timings(usage: Usage, reading: float, writing: float) -> dict[str, Any]:
    """In llama.cpp's words: what was read of the prompt, and what was written."""
    timings: dict[str, Any] = {"cache_n": usage.cached_tokens}
    read = usage.prompt_tokens - usage.cached_tokens
    for name, count, seconds in (("prompt", read, reading), ("predicted", usage.completion_tokens, writing)):
        timings |= {
            f"{name}_n": count,
            f"{name}_ms": round(1000 * seconds, 3),
            f"{name}_per_token_ms": round(1000 * seconds / count, 3) if count else 0.0,
            f"{name}_per_second": round(count / seconds, 3) if seconds > 0 else 0.0,
        }
    return timings


def _some(answer: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Fields of an answer by their paths, such as `timings/prompt_n`, which is what they are then called."""
    found = {}
    for path in fields:
        value: Any = answer
        for name in path.split("/"):
            value = value.get(name, msgspec.UNSET) if isinstance(value, Mapping) else msgspec.UNSET
        if value is not msgspec.UNSET:
            found[path] = value
    return found
