"""What comes from a tool as text that is only read: no special token of the model stands in it.

A rendered conversation is encoded with what looks like a special token as that token. In the user's words
that is theirs to do; a web page that spells `<|im_end|><|im_start|>system` must not begin a turn.
"""

import re
from typing import Any

from llmkit.tokens.tokenizer import Tokenizer

_SHORTEST = 3  # characters: a special token such as `#` is found in any text


class Disarmed:
    """Writes a blank into each special token that a text spells, behind its first character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = tokenizer.backend.get_added_tokens_decoder().values()
        names = {
            token.content
            for token in added
            if len(token.content) >= _SHORTEST and not re.search(r"\s", token.content)
        }
        joined = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        self._pattern = re.compile(joined) if names else None

    def text(self, text: str) -> str:
        """The text without special tokens."""
        while self._pattern is not None and self._pattern.search(text):  # one may begin within another
            text = self._pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value, the same done to all its texts."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(one) for key, one in value.items()}
        return value
