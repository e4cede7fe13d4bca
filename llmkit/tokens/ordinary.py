"""Text as text: what looks like a special token in a document is encoded as letters, not as the token.

`tokenizers` matches added special tokens anywhere in its input, so a web page that mentions `<|endoftext|>`
would end a document in training. llmkit lets only chat templates and its bos/eos flags write special tokens,
as tiktoken's `encode_ordinary` does.
"""

import copy
import json
from typing import Any

import tokenizers
from tokenizers import models

from llmkit.tokens.tokenizer import Tokenizer

UNWRITTEN = "\U0010ffff"  # a code point that Unicode keeps for no character


def ordinary_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """A backend that gives `tokenizer`'s ids but never matches a special token in the text.

    Vocabulary, normaliser and pre-tokenizer are shared, not copied (but for a unigram model). Added tokens
    that are not marked special are ordinary vocabulary and stay.
    """
    backend = tokenizer.backend
    added = backend.get_added_tokens_decoder()
    if not any(token.special for token in added.values()):
        return backend
    special = {token.content for token in added.values() if token.special}
    ordinary = tokenizers.Tokenizer(_without(backend.model, special))
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if getattr(backend, part) is not None:
            setattr(ordinary, part, getattr(backend, part))
    plain = {index: token for index, token in sorted(added.items()) if not token.special}
    ordinary.add_tokens(list(plain.values()))
    if all(ordinary.token_to_id(token.content) == index for index, token in plain.items()):
        return ordinary
    duplicate = copy.deepcopy(backend)  # slower: an added token's id has a gap that add_tokens cannot leave
    duplicate.model = ordinary.model
    duplicate.encode_special_tokens = True
    duplicate.no_truncation()
    duplicate.no_padding()
    return duplicate


def _without(model: Any, special: set[str]) -> Any:
    """A model that cannot choose these pieces: a unigram model that lists `</s>` finds it in a text."""
    if not isinstance(model, models.Unigram):
        return model
    state = json.loads(model.__getstate__())
    hidden = [(UNWRITTEN + piece if piece in special else piece, score) for piece, score in state["vocab"]]
    return models.Unigram(hidden, state["unk_id"], state["byte_fallback"])


def parsing_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The backend that reads special tokens in the text: for rendered chat templates and --allow-special."""
    return tokenizer.backend
