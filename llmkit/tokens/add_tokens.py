"""Special tokens that a tokenizer does not have yet: markers of turns, of calls, of a new format."""

from collections.abc import Sequence
from typing import Any

import tokenizers

from llmkit.errors import UsageError
from llmkit.tokens.tokenizer import Tokenizer

_LISTED = "added_tokens_decoder"
"""Where tokenizer_config.json lists them again, if it does."""


def add_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokenizer:
    """A tokenizer with more special tokens; every text without them is cut as before.

    Args:
        tokenizer: stays as it is.
        texts: of the new tokens, whose ids come after all others in this order.

    Raises:
        UsageError: one is empty, given twice, or a token already.
    """
    known = {texts[at] for at in range(len(texts)) if texts[at] in texts[:at]}
    known |= {text for text in texts if tokenizer.id_of(text) is not None}
    if known or "" in texts:
        what = f"{min(known)!r} is a token already" if known else "an empty token"
        raise UsageError(f"--add-token: {what}", hint="name tokens that it does not have, once each")
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    new = [tokenizers.AddedToken(text, normalized=False, special=True) for text in texts]
    backend.add_special_tokens(new)
    config: dict[str, Any] = dict(tokenizer.config)
    if _LISTED in config:
        facts = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        listed = {str(backend.token_to_id(text)): {"content": text, **facts} for text in texts}
        config[_LISTED] = {**config[_LISTED], **listed}
    return Tokenizer(backend, config, tokenizer.chat_template, named_templates=tokenizer.named_templates)
