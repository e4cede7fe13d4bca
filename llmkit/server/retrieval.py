"""Passages of the operator's index put before the question of a chat.

The question is what the user said last. What stands in a passage is only read: it has no special token of the
model in it, and a call in it is text.
"""

import asyncio
from dataclasses import replace

from llmkit.errors import LlmkitError
from llmkit.retrieve.hits import Find
from llmkit.retrieve.last_question import last_question
from llmkit.retrieve.passage_prompt import Citation, PassagePrompt, PassagePrompts
from llmkit.server.ask import Ask
from llmkit.server.errors import as_api_error
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.results import Disarmed

MOST_TOKENS = 2000
"""Of the passages; of a model of few positions, half of those."""
_MOST_QUERY = 2_000
"""Characters of a question, from its end, that are looked for: a pasted book is no question."""


class Retrieval:
    """One index for all requests."""

    def __init__(
        self, find: Find, tokenizer: Tokenizer, *, most: int, context: int, at_once: int = 1
    ) -> None:
        """
        Args:
            find: searches it.
            tokenizer: of the model that reads the passages.
            most: passages that are looked for.
            context: positions that the model has.
            at_once: searches that may be under way together.
        """
        self._find = find
        self._most = most
        self._searching = asyncio.Semaphore(at_once)
        backend = ordinary_backend(tokenizer)
        self._prompts = PassagePrompts(
            lambda text: len(backend.encode(text, add_special_tokens=False).ids),
            min(MOST_TOKENS, context // 2),
            clean=Disarmed(tokenizer).text,
        )

    async def before(self, ask: Ask) -> tuple[Ask, tuple[Citation, ...]]:
        """A request with the passages before its question, and what their marks stand for.

        One whose question finds nothing is left as it is.

        Raises:
            ApiError: the index cannot be read.
        """
        place = last_question(ask.messages)
        if place is None:
            return ask, ()
        question = ask.messages[place]["content"]
        try:
            async with self._searching:
                made = await asyncio.to_thread(self._make, question)
        except LlmkitError as error:
            raise as_api_error(error) from None
        if not made.citations:
            return ask, ()
        messages = list(ask.messages)
        messages[place] = {**messages[place], "content": made.text}
        return replace(ask, messages=tuple(messages)), made.citations

    def _make(self, question: str) -> PassagePrompt:
        hits = self._find(question[-_MOST_QUERY:], self._most)
        return self._prompts.make(question, hits, {})
