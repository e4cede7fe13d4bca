"""How many bytes of a text stand behind each of its tokens.

`Tokenizer.byte_lengths` knows tokens, not texts: SentencePiece puts a space before a text, and before what
follows a special token, that is in the first token and not in the text; others drop blanks or change letters.
"""

from collections.abc import Sequence

from llmkit.tokens.tokenizer import Tokenizer

_SPACE = b" "
_NEAR = 64
"""Bytes of the text that are looked through for a token that is not where the one before ended."""


def bytes_in_text(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], *, rendered: bool = False
) -> list[int]:
    """The bytes of the text behind each token; none behind a special one, which stands for no text.

    Their sum is the size of the text without its special tokens: what no token has, such as blanks that the
    tokenizer drops, counts for the token behind it, and at the end for the last one.

    Args:
        tokenizer: that made the tokens.
        text: as it was encoded.
        ids: its tokens, what was put around it included.
        rendered: special tokens stand in the text, as in a conversation; else they were put around it.
    """
    content, sizes, found = text.encode(), tokenizer.byte_lengths, [0] * len(ids)
    at, last = 0, None
    for place, token_id in enumerate(ids):
        token, size = tokenizer.token_bytes(token_id), int(sizes[token_id])
        if not size:
            at += len(token) if rendered and content.startswith(token, at) else 0
            continue
        end = _end(content, at, token)
        found[place], last, at = end - at, place, end
    if last is not None:
        found[last] += len(content) - at
    return found


def _end(content: bytes, at: int, token: bytes) -> int:
    """Where a token ends in a text, of which the one before ended at `at`."""
    spellings = (token, token.removeprefix(_SPACE))  # the space may be the tokenizer's
    for spelled in spellings:
        if content.startswith(spelled, at):
            return at + len(spelled)
    for spelled in spellings:
        if (near := content.find(spelled, at, at + _NEAR)) >= 0:
            return near + len(spelled)
    return min(at + len(token), len(content))  # changed by the tokenizer
