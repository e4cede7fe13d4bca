"""The environment that chat templates run in: jinja2 in a sandbox, with what Hugging Face adds to it.

Source: transformers `utils/chat_template_utils.py`; the results are compared with it in the tests.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmkit.errors import ConfigError
from llmkit.formats.text_file import read_text_file

REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What rendering raises where a template and what it is given do not go together."""
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class _Written:
    """How much of a text is out, and where its generation blocks stand."""

    def __init__(self) -> None:
        self.chars = 0
        self.blocks: list[tuple[int, str]] = []


_WRITTEN: ContextVar[_Written | None] = ContextVar("written", default=None)
_MOMENT: ContextVar[datetime | None] = ContextVar("moment", default=None)


class GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}` around what the assistant wrote; it renders as its content."""

    tags = {"generation"}  # noqa: RUF012 (the attribute that jinja2 reads)

    def parse(self, parser: Parser) -> Node:
        """Take the block as a call whose result is its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        body = caller()
        written = _WRITTEN.get()
        if written is not None:
            written.blocks.append((written.chars, body))
        return body


def has_generation_markers(source: str) -> bool:
    """Whether a template says itself what the assistant writes."""
    return _MARKER.search(source) is not None


def render_with_generations(
    template: jinja2.Template, given: dict[str, Any]
) -> tuple[str, list[tuple[int, int]]]:
    """A text, and the character ranges of its generation blocks.

    Raises:
        jinja2.TemplateError: the template refuses, or a block is not written out where it stands.
    """
    written, parts = _Written(), []
    token = _WRITTEN.set(written)
    try:
        for part in template.generate(given):
            parts.append(part)
            written.chars += len(part)
    finally:
        _WRITTEN.reset(token)
    text = "".join(parts)
    if not all(text.startswith(body, start) for start, body in written.blocks):
        raise jinja2.TemplateError("a generation block stands inside a macro or a set, so its place is lost")
    return text, [(start, start + len(body)) for start, body in written.blocks]


@contextmanager
def one_moment() -> Iterator[None]:
    """Templates that write the time write the same time throughout: two renderings can be compared."""
    token = _MOMENT.set(_MOMENT.get() or datetime.now())
    try:
        yield
    finally:
        _MOMENT.reset(token)


@functools.lru_cache(maxsize=16)
def compile_template(source: str) -> jinja2.Template:
    """A chat template, ready to render.

    Raises:
        jinja2.TemplateError: it does not parse.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _now
    return environment.from_string(source)


def read_template(path: Path) -> str:
    """The text of a file with a template.

    Raises:
        MissingError: there is no such file.
        DataError: it is not UTF-8.
        ConfigError: it does not parse.
    """
    text = read_text_file(path, hint="give a template: text for jinja2")
    try:
        compile_template(text)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{path}: line {error.lineno}: {error.message}", hint=f"mend {path}") from None
    return text


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return (_MOMENT.get() or datetime.now()).strftime(pattern)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is; jinja2's own filter would escape <, > and & for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
