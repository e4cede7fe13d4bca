"""Special tokens spelt out in what people wrote: a web page that mentions `<|im_end|>`, or an injection."""

import re
from typing import Any

from llmkit.tokens.audit import Fault
from llmkit.tokens.tokenizer import Tokenizer

_SHORTEST = 3  # characters: a special token such as `#` is found in any text


class SpecialText:
    """Finds the special tokens of one tokenizer in messages."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = tokenizer.backend.get_added_tokens_decoder().values()
        names = {token.content for token in added if token.special and len(token.content) >= _SHORTEST}
        self._pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
        self._any = bool(names)

    def faults(self, messages: list[dict[str, Any]], *, is_chat: bool) -> list[Fault]:
        """A fault for the first message that spells one.

        Args:
            messages: whose texts are searched.
            is_chat: whether it will be read as that token; otherwise it stays text.
        """
        for number, message in enumerate(messages):
            found = self._search(message.get("content"))
            if found is not None:
                where = f"message {number}" if is_chat else "the text"
                becomes = "which becomes that token" if is_chat else "which stays text"
                return [Fault("text.special", f"{where} spells {found}, {becomes}")]
        return []

    def _search(self, content: Any) -> str | None:
        if not self._any:
            return None
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            return next(filter(None, map(self._search, texts)), None)
        found = self._pattern.search(content) if isinstance(content, str) else None
        return found[0] if found else None
