"""llmkit retrieve context: each query becomes a prompt that has the passages to answer it from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from llmkit.errors import ConfigError
from llmkit.formats.streams import open_input
from llmkit.retrieve.context import Excerpt, Order, pack
from llmkit.retrieve.passages import CHARACTERS_PER_TOKEN
from llmkit.tokens.templates import compile_template
from llmkit.workflows.retrieve_query import Hit, Query
from llmkit.workflows.retrieve_run import Run

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


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """How prompts are made."""

    budget: int = 2000
    """Most tokens of the passages."""
    tokenizer: Path | None = None
    """Counts tokens; None: a token for every four characters."""
    order: Order = "score"
    template: Path | None = None
    """A file with a template; None: TEMPLATE."""
    messages: bool = False
    """A user's message instead of a prompt."""


def write_contexts(run: Run, options: ContextOptions) -> None:
    """Write each query's record with `prompt` (or `messages`), `citations` and `context_tokens`.

    A query for which nothing is found gets a prompt without passages.

    Raises:
        ConfigError: the template does not parse or cannot be filled in.
        MissingError: no tokenizer is there.
    """
    template, name = _template(options.template)
    count = _counter(options.tokenizer)
    for query, hits in run.answers():
        cost = cache(lambda one: count(_block(one)))  # `pack` asks again for what it has taken
        packed = pack([_excerpt(hit) for hit in hits], cost, options.budget, options.order)
        text = _filled(template, name, query, packed)
        prompt: dict[str, Any] = {"prompt": text}
        if options.messages:
            prompt = {"messages": [{"role": "user", "content": text}]}
        run.write_record(
            query,
            **prompt,
            citations=_citations(packed, hits),
            context_tokens=sum(map(cost, packed)),
        )


def _template(path: Path | None) -> tuple[jinja2.Template, str]:
    name, text = "the built-in template", TEMPLATE
    if path is not None:
        with open_input(path) as stream:
            name, text = str(path), stream.read().decode()
    try:
        return compile_template(text), name
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{name}: line {error.lineno}: {error.message}", hint=f"mend {name}") from None


def _filled(template: jinja2.Template, name: str, query: Query, packed: Sequence[Excerpt]) -> str:
    passages = [
        {
            "mark": mark,
            "text": one.text,
            "document": one.document,
            "start": one.start,
            "end": one.end,
            "heading": one.heading,
        }
        for mark, one in enumerate(packed, 1)
    ]
    record = {key: msgspec.json.decode(value) for key, value in query.record.items()}
    try:
        return template.render(query=query.text, passages=passages, record=record)
    except jinja2.TemplateError as error:
        raise ConfigError(f"{name}: {error}", hint="it is given query, passages and record") from None


def _block(one: Excerpt) -> str:
    """What a passage takes of a prompt, with the line above it."""
    return f"[00] {one.heading}\n{one.text}\n\n"


def _counter(tokenizer: Path | None) -> Callable[[str], int]:
    if tokenizer is None:
        return lambda text: -(-len(text) // CHARACTERS_PER_TOKEN)
    from llmkit.tokens.load import load_tokenizer
    from llmkit.tokens.ordinary import ordinary_backend

    backend = ordinary_backend(load_tokenizer(tokenizer))
    return lambda text: len(backend.encode(text, add_special_tokens=False).ids)


def _excerpt(hit: Hit) -> Excerpt:
    return Excerpt(hit.document, hit.start, hit.end, hit.text, hit.score, hit.heading)


def _citations(packed: Sequence[Excerpt], hits: Sequence[Hit]) -> list[Citation]:
    sources = {hit.document: hit.source for hit in hits}
    return [
        Citation(
            mark=mark,
            document=one.document,
            start=one.start,
            end=one.end,
            heading=one.heading,
            source=sources[one.document],
        )
        for mark, one in enumerate(packed, 1)
    ]
