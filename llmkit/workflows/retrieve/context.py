"""llmkit retrieve context: each query becomes a prompt that has the passages to answer it from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.formats.jsonl import decode_all
from llmkit.retrieve.context import Order
from llmkit.retrieve.passage_prompt import PassagePrompts
from llmkit.retrieve.passages import CHARACTERS_PER_TOKEN
from llmkit.tokens.templates import read_template
from llmkit.workflows.retrieve.conversation import read_conversation, with_prompt
from llmkit.workflows.retrieve.run import Run


@dataclass(frozen=True, kw_only=True)
class ContextOptions:
    """How prompts are made."""

    budget: int = 2000
    """Most tokens of the passages."""
    tokenizer: Path | None = None
    """Counts tokens; None: a token for every four characters."""
    order: Order = "score"
    template: Path | None = None
    """A file with a template; None: the built-in one."""
    messages: bool = False
    """A user's message instead of a prompt; in a record's own conversation, if it has one."""

    def __post_init__(self) -> None:
        """Refuse a budget that no passage could keep."""
        if self.budget < 1:
            raise UsageError(f"--budget {self.budget}: no room for a passage", hint="--budget 2000")


def write_contexts(run: Run, options: ContextOptions) -> int:
    """Write each query's record with `prompt` (or `messages`), `citations` and `context_tokens`.

    A query for which nothing is found gets a prompt without passages.

    Returns:
        How many got one although passages were found, of which the budget holds not even the first words.

    Raises:
        ConfigError: the template does not parse or cannot be filled in.
        MissingError: no tokenizer is there.
    """
    prompts = _prompts(options)
    without = 0
    for query, hits in run.answers():
        made = prompts.make(query.text, hits, decode_all(query))
        without += bool(hits) and not made.citations
        prompt: dict[str, Any] = {"prompt": made.text}
        if options.messages:
            messages = read_conversation(query.record, query.where)
            prompt = {"messages": with_prompt(messages, query.text, made.text)}
        run.write_record(query, **prompt, citations=made.citations, context_tokens=made.context_tokens)
    return without


def _prompts(options: ContextOptions) -> PassagePrompts:
    own: dict[str, Any] = {}
    if options.template is not None:
        own = {"name": str(options.template), "template": read_template(options.template)}
    return PassagePrompts(_counter(options.tokenizer), options.budget, order=options.order, **own)


def _counter(tokenizer: Path | None) -> Callable[[str], int]:
    if tokenizer is None:
        return lambda text: -(-len(text) // CHARACTERS_PER_TOKEN)
    from llmkit.tokens.load import load_tokenizer
    from llmkit.tokens.ordinary import ordinary_backend

    backend = ordinary_backend(load_tokenizer(tokenizer))
    return lambda text: len(backend.encode(text, add_special_tokens=False).ids)
