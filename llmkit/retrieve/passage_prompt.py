"""Prompts that have the passages to answer a question from, and what the passages' marks stand for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import msgspec

from llmkit.errors import ConfigError
from llmkit.retrieve.context import Excerpt, Order, pack
from llmkit.retrieve.hits import Hit
from llmkit.tokens.templates import REFUSALS, compile_template

TEMPLATE = """\
Answer the question from the passages. Cite those you use by their numbers, like [1]. \
If the answer is not in them, say so.
{% for passage in passages %}

[{{ passage.mark }}]{{ " " + passage.heading if passage.heading }}
{{ passage.text }}
{% endfor %}

Question: {{ query }}
Answer:"""
"""Jinja. It is given `query`, `passages` (mark, text, document, start, end, heading) and `record`."""


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage of a prompt: what its mark there stands for."""

    mark: int
    document: str
    start: int
    """Of its characters in the document."""
    end: int
    heading: str = ""
    source: msgspec.Raw | None = None


@dataclass(frozen=True)
class PassagePrompt:
    """A question with its passages."""

    text: str
    citations: tuple[Citation, ...]
    context_tokens: int
    """Of the passages."""


class PassagePrompts:
    """Makes prompts by one template, within one budget."""

    def __init__(
        self,
        count: Callable[[str], int],
        budget: int,
        *,
        order: Order = "score",
        template: str = TEMPLATE,
        name: str = "the built-in template",
        clean: Callable[[str], str] = str,
    ) -> None:
        """
        Args:
            count: tokens of a text.
            budget: most tokens of the passages.
            order: how they stand, see `context.pack`.
            template: Jinja; it is given what TEMPLATE is.
            name: of the template, for errors.
            clean: what is done to all that is from documents, once it is chosen.

        Raises:
            ConfigError: the template does not parse.
        """
        self._count, self._budget, self._order, self._name = count, budget, order, name
        self._clean = clean
        try:
            self._template = compile_template(template)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"{name}: line {error.lineno}: {error.message}", hint=f"mend {name}") from None

    def make(self, query: str, hits: Sequence[Hit], record: Mapping[str, Any]) -> PassagePrompt:
        """A prompt; where nothing was found, one without passages.

        Args:
            query: the question.
            hits: what was found for it, the best first.
            record: that it came in, for the template.

        Raises:
            ConfigError: the template cannot be filled in.
        """
        cost = cache(lambda one: self._count(_block(one)))  # `pack` asks again for what it has taken
        packed = pack([_excerpt(hit) for hit in hits], cost, self._budget, self._order)
        passages = [
            {
                "mark": mark,
                "text": self._clean(one.text),
                "document": self._clean(one.document),
                "start": one.start,
                "end": one.end,
                "heading": self._clean(one.heading),
            }
            for mark, one in enumerate(packed, 1)
        ]
        try:
            text = self._template.render(query=query, passages=passages, record=record)
        except REFUSALS as error:
            hint = "it is given query, passages and record"
            raise ConfigError(f"{self._name}: {error}", hint=hint) from None
        return PassagePrompt(text, _citations(packed, hits), sum(map(cost, packed)))


def _block(one: Excerpt) -> str:
    """What a passage takes of a prompt, with the line above it."""
    return f"[00] {one.heading}\n{one.text}\n\n"


def _excerpt(hit: Hit) -> Excerpt:
    return Excerpt(hit.document, hit.start, hit.end, hit.text, hit.score, hit.heading)


def _citations(packed: Sequence[Excerpt], hits: Sequence[Hit]) -> tuple[Citation, ...]:
    sources = {hit.document: hit.source for hit in hits}
    return tuple(
        Citation(
            mark=mark,
            document=one.document,
            start=one.start,
            end=one.end,
            heading=one.heading,
            source=sources[one.document],
        )
        for mark, one in enumerate(packed, 1)
    )
