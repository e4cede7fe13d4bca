"""`/v1/completions`: OpenAI's endpoint for plain prompts. Source: OpenAI's API reference, "Completions"."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.engine.config import SamplingConfig
from llmkit.formats.json_text import is_number
from llmkit.server.answer import Answered, Piece, TokenScore, Usage
from llmkit.server.ask import Ask
from llmkit.server.errors import refused
from llmkit.server.wire.sampling import (
    SAYS_NOTHING,
    SamplingFields,
    WireLimits,
    check_answers,
    check_logprobs,
    read_alike,
    read_sampling,
    refuse_what_is_not_done,
    the_most_tokens,
)
from llmkit.server.wire.usage import envelope, usage_object

DEFAULT_MAX_TOKENS = 16
"""OpenAI's, for plain prompts."""
HARMLESS: dict[str, tuple[Any, ...]] = SAYS_NOTHING | {"best_of": (1,)}
"""Parameters that are not done here, with the values that ask for nothing; `best_of` may also be `n`."""
LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a probability of zero, which JSON has no logarithm of."""


class CompletionRequest(SamplingFields, kw_only=True, forbid_unknown_fields=True):
    """The body."""

    prompt: str | list[Any]
    echo: bool | None = None
    logprobs: int | None = None
    best_of: Any = None
    suffix: str | None = None


def read_completion(told: CompletionRequest, base: SamplingConfig, limits: WireLimits) -> Ask:
    """What a body asks for.

    Args:
        told: the body, decoded.
        base: settings that hold where it says nothing.
        limits: how much it may ask for.

    Raises:
        ApiError: 400, naming the parameter that cannot be followed.
    """
    refuse_what_is_not_done(told, HARMLESS | {"best_of": (told.n or 1,)})
    told.max_tokens = the_most_tokens(told.max_tokens, told.max_completion_tokens)
    score_only = told.max_tokens == 0
    if score_only:
        if not told.echo:
            raise refused("max_tokens", "0 only with echo: nothing would come out")
        told.max_tokens = 1
    sampling = read_sampling(told, base, limits, max_tokens=DEFAULT_MAX_TOKENS)
    if told.logprobs is not None:
        count = check_logprobs("logprobs", told.logprobs, limits)
        sampling = replace(sampling, logprobs=count)
    texts, ids = read_prompts(told.prompt, suffix=told.suffix or "")
    if told.suffix and told.echo:
        raise refused("echo", "not with a suffix: what comes before a gap is not told again")
    check_answers(len(texts) or len(ids), sampling.samples, limits, ("prompt", "n"))
    return Ask(
        kind="text",
        texts=texts,
        suffix=told.suffix or None,
        ids=ids,
        echo=bool(told.echo),
        score_only=score_only,
        **read_alike(told, sampling, limits),
    )


def completion_object(who: Answered, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
    """The answer in one piece.

    Args:
        who: answers.
        answers: the pieces of each, in order.
        usage: of all together.
    """
    return envelope(who, "text_completion") | {
        "choices": [_choice(index, pieces) for index, pieces in enumerate(answers)],
        "usage": usage_object(usage),
    }


def completion_chunk(who: Answered, piece: Piece, usage: Usage | None) -> dict[str, Any]:
    """A piece of the answer, as an event.

    Args:
        who: answers.
        piece: what is new.
        usage: so far, where each event tells it.
    """
    chunk = envelope(who, "text_completion") | {"choices": [_choice(piece.index, [piece])]}
    return chunk if usage is None else chunk | {"usage": usage_object(usage)}


def completion_usage_chunk(who: Answered, usage: Usage) -> dict[str, Any]:
    """The event that says how many tokens there were."""
    return envelope(who, "text_completion") | {"choices": [], "usage": usage_object(usage)}


def read_prompts(
    prompt: str | list[Any], param: str = "prompt", *, suffix: str = ""
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """(texts, rows of ids): one of the two is empty.

    Args:
        prompt: as a body has it.
        param: what the body calls it.
        suffix: what comes after a gap behind it; empty: there is no gap.

    Raises:
        ApiError: 400: it is neither, or there is a gap behind ids.
    """
    texts, ids = _read_prompts(prompt, param, may_be_empty=bool(suffix))
    if suffix and ids:
        raise refused("suffix", f"only with a {param} that is a text: ids have their own marks for a gap")
    return texts, ids


def _read_prompts(
    prompt: str | list[Any], param: str, *, may_be_empty: bool
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    if isinstance(prompt, str):
        return (_text(prompt, param, may_be_empty=may_be_empty),), ()
    if not prompt:
        raise refused(param, "is empty")
    if (row := _row(prompt)) is not None:
        return (), (row,)
    if all(isinstance(one, str) for one in prompt):
        return tuple(_text(one, param, may_be_empty=may_be_empty) for one in prompt), ()
    if all(isinstance(one, list) for one in prompt):
        rows = [_row(one) for one in prompt]
        if not all(rows):
            raise refused(param, "a list of token ids is whole numbers, at least one")
        return (), tuple(row for row in rows if row)
    raise refused(param, "a text, a list of texts, a list of token ids, or a list of such lists")


def _row(told: list[Any]) -> tuple[int, ...] | None:
    """Token ids; None where something is none. JSON's 5.0 is one too."""
    if not all(map(is_number, told)):
        return None
    return tuple(map(int, told)) if all(one == int(one) for one in told) else None


def _text(prompt: str, param: str, *, may_be_empty: bool) -> str:
    if not prompt and not may_be_empty:
        raise refused(param, "is empty")
    return prompt


def _choice(index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
    scores = [score for piece in pieces for score in piece.scores]
    last = pieces[-1] if pieces else Piece(index)
    return {
        "index": index,
        "text": "".join(piece.text for piece in pieces),
        "logprobs": score_columns(scores) if scores else None,
        "finish_reason": last.finish,
        "stop_reason": last.matched,
    }


def score_columns(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """Log probabilities as this endpoint has them: a list for each kind of figure."""
    columns: dict[str, list[Any]] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for score in scores:
        top = {one.text: _logprob(one) for one in reversed(score.top)}  # of two that look alike, the best
        first = score.logprob is None
        values = (score.text, _logprob(score), None if first else top, score.offset)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def _logprob(score: TokenScore) -> float | None:
    return None if score.logprob is None else max(score.logprob, LEAST_LOGPROB)
