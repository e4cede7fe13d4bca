"""A token by the name that people give it: its text, its piece, or its id."""

import re

from llmkit.errors import UsageError, nearest
from llmkit.tokens.tokenizer import Tokenizer

BY_ID = "id:"
"""What stands before an id, so that the token 7 and the seventh token are two things."""

_BYTE = re.compile("<0x[0-9A-F]{2}>")


def find_token(tokenizer: Tokenizer | None, name: str, vocab_size: int) -> int:
    """The id of a token called `id:N`, a piece as the vocabulary stores it, or a text that is one token.

    Args:
        tokenizer: the model's, None where it has none: then only ids are names.
        name: as typed.
        vocab_size: of the model.

    Raises:
        UsageError: no token is called that.
    """
    if name.startswith(BY_ID):
        number = name.removeprefix(BY_ID)
        if not number.isdecimal() or int(number) >= vocab_size:
            raise UsageError(f"{name}: no such token", hint=f"ids are id:0 to id:{vocab_size - 1}")
        return int(number)
    if tokenizer is None:
        raise UsageError(f"{name!r}: there is no tokenizer to look it up in", hint="give an id: id:7, or -t")
    found = tokenizer.id_of(name)
    if found is None:
        ids = tokenizer.encode(name)
        if len(ids) != 1:
            pieces = " ".join(repr(tokenizer.token_text(one)) for one in ids[:8])
            close = nearest(name, [tokenizer.token_text(one) for one in range(tokenizer.vocab_size)])
            raise UsageError(
                f"{name!r} is {len(ids)} tokens ({pieces})",
                hint=f"did you mean {close!r}?" if close else "name one of them, or an id: id:7",
            )
        found = ids[0]
    if found >= vocab_size:
        raise UsageError(f"{name!r} is token {found}, beyond the model's {vocab_size}", hint="name another")
    return found


def token_label(tokenizer: Tokenizer | None, token: int) -> str:
    """What to call a token in a table: its text where it has some, its piece, else its id."""
    if tokenizer is None:
        return f"{BY_ID}{token}"
    piece = tokenizer.token_text(token)
    if not piece:
        return f"{BY_ID}{token}"
    if _BYTE.fullmatch(piece):  # the token of a byte is not the token of the letter that the byte is
        return piece
    try:
        return tokenizer.token_bytes(token).decode()
    except UnicodeDecodeError:
        return piece
