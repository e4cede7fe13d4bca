"""What a model thinks of a token, as records have it: of `generate --logprobs` and of `eval tokens`."""

import math
from typing import Any

from llmkit.engine.request import Drawn, Scored
from llmkit.tokens.tokenizer import Tokenizer


def token_record(token: Drawn, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """A token with its scores. One that was not scored, as the first of a text, has null for them.

    id, text (and bytes where they are no whole characters), logprob (natural), surprisal_bits (-log2 p),
    entropy_bits of all that could have stood here, rank (the best is 1), margin (probability of the best less
    that of the second), top: the best, each with id, text and logprob.
    """
    spelled = spelled_token(token.id, tokenizer)
    logprob = None if token.score is None else token.score.logprob
    return {
        **{name: value for name, value in spelled.items() if name != "bytes"},
        "logprob": logprob,
        **{name: value for name, value in spelled.items() if name == "bytes"},
        "surprisal_bits": None if logprob is None else -logprob / math.log(2),
        "entropy_bits": token.entropy_bits,
        "rank": token.rank,
        "margin": token.margin,
        "top": [_scored(one, tokenizer) for one in token.top],
    }


def spelled_token(token_id: int, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """An id with its text; of one that is part of a character, its bytes too."""
    if tokenizer is None:
        return {"id": token_id}
    content = tokenizer.token_bytes(token_id)
    text = content.decode(errors="replace")
    whole = text.encode() == content
    return {"id": token_id, "text": text, **({} if whole else {"bytes": list(content)})}


def _scored(token: Scored, tokenizer: Tokenizer | None) -> dict[str, Any]:
    spelled = spelled_token(token.id, tokenizer)
    content = spelled.pop("bytes", None)
    return {**spelled, "logprob": token.logprob, **({} if content is None else {"bytes": content})}
