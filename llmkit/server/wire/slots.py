"""`/slots`: texts at work, as llama.cpp tells of the places that it has for them.

Places here are none that a text has to itself: memory is shared, and a text has any free number while it is
at work. What is said, and what is not to be said of others' texts, is as there: no prompt, no text, nothing
that a client wrote.
Source: llama.cpp, tools/server/README.md, "GET /slots".
"""

from typing import Any

import msgspec

from llmkit.engine.text import Text
from llmkit.server.wire.props import default_params

_WRITTEN = ("stop", "dry_sequence_breakers")
"""Settings that are a client's own words."""


class NextToken(msgspec.Struct):
    """How far a text is."""

    has_next_token: bool
    n_remain: int
    """Tokens that it may still come to."""
    n_decoded: int


class TextSlot(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A place, and the text that has it."""

    id: int
    n_ctx: int
    speculative: bool
    is_processing: bool
    id_task: int | msgspec.UnsetType = msgspec.UNSET
    """Of the text: no other has it."""
    n_prompt_tokens: int | msgspec.UnsetType = msgspec.UNSET
    n_prompt_tokens_processed: int | msgspec.UnsetType = msgspec.UNSET
    """Computed for it."""
    n_prompt_tokens_cache: int | msgspec.UnsetType = msgspec.UNSET
    """Found in the cache."""
    params: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    next_token: list[NextToken] | msgspec.UnsetType = msgspec.UNSET


def text_slot(place: int, text: Text | None, *, context: int, speculative: bool) -> TextSlot:
    """A place.

    Args:
        place: its number.
        text: that has it; None: it is free.
        context: positions that a text may have.
        speculative: whether tokens are guessed ahead.
    """
    if text is None:
        return TextSlot(id=place, n_ctx=context, speculative=speculative, is_processing=False)
    sampling, drawn = text.request.sampling, max(0, text.drawn)
    params = {name: one for name, one in default_params(sampling).items() if name not in _WRITTEN}
    params |= {"n_predict": sampling.max_tokens, "seed": sampling.seed, "n_probs": sampling.logprobs or 0}
    prompt = len(text.request.prompt)
    return TextSlot(
        id=place,
        n_ctx=context,
        speculative=speculative,
        is_processing=True,
        id_task=text.number,
        n_prompt_tokens=prompt,
        n_prompt_tokens_processed=max(0, min(text.computed, prompt) - text.from_cache),
        n_prompt_tokens_cache=text.from_cache,
        params=params,
        next_token=[NextToken(drawn < text.room, text.room - drawn, drawn)],
    )
