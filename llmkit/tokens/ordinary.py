"""Text as text: what looks like a special token in a document is encoded as letters, not as the token.

`tokenizers` matches added special tokens anywhere in its input, so a web page that mentions `<|endoftext|>`
would end a document in training. llmkit lets only chat templates and its bos/eos flags write special tokens,
as tiktoken's `encode_ordinary` does.
"""

import copy

import tokenizers

from llmkit.tokens.tokenizer import Tokenizer


def ordinary_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """A backend that gives `tokenizer`'s ids but never matches a special token in the text.

    Vocabulary, normaliser and pre-tokenizer are shared, not copied. Added tokens that are not marked special
    are ordinary vocabulary and stay. A unigram model with `</s>` among its own pieces can still choose it.
    """
    backend = tokenizer.backend
    added = backend.get_added_tokens_decoder()
    if not any(token.special for token in added.values()):
        return backend
    ordinary = tokenizers.Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        if getattr(backend, part) is not None:
            setattr(ordinary, part, getattr(backend, part))
    plain = {index: token for index, token in sorted(added.items()) if not token.special}
    ordinary.add_tokens(list(plain.values()))
    if all(ordinary.token_to_id(token.content) == index for index, token in plain.items()):
        return ordinary
    duplicate = copy.deepcopy(backend)  # slower: an added token's id has a gap that add_tokens cannot leave
    duplicate.encode_special_tokens = True
    duplicate.no_truncation()
    duplicate.no_padding()
    return duplicate


def parsing_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The backend that reads special tokens in the text: for rendered chat templates and --allow-special."""
    return tokenizer.backend
