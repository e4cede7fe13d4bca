"""Prompts into token ids, and ids into text, in a process of its own, which can be killed.

Neither a chat template nor a tokenizer promises to be quick: a sandbox does not bound what a template costs,
and a megabyte of one letter takes a tokenizer a quarter of a minute. Here they hold nobody up.

One message a prompt each way, as msgpack behind four bytes of length:
    {"text": str, "special": bool, "whole": bool, "marks": bool, "parse_special": bool,
     "suffix": str | None, "files": [[str, str]]} |
    {"ids": [int]} | {"template": true} |
    {"messages": […], "tools": […] | None, "kwargs": {…}, "prefill": str} |
    {"rule": [kind, …], "vocab_size": int}
and back
    {"ids": [int], "text": str} | {"text": str} | {"turn_end": int | None, "turns": {…}} |
    {"problem": str, "hint": str, "kind": str}
"""

import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from llmkit.engine.grammar import Grammar, Grammars
from llmkit.errors import ConfigError, LlmkitError, ResourceError, as_told, told
from llmkit.formats.frames import read_frame, write_frame
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder

RULE_SECONDS = 0.5
"""Of the processor, that a rule may take to say what can come first."""
MEMORY_BYTES = 2 << 30
"""Of a worker's address space, beyond what it has when it is ready."""


class Worker:
    """Answers messages, one after the other."""

    def __init__(self, tokenizer_path: Path) -> None:
        """tokenizer_path: as `load_tokenizer` takes it."""
        self._tokenizer = load_tokenizer(tokenizer_path)
        self._encoder = PromptEncoder(self._tokenizer)
        self._marked = PromptEncoder(self._tokenizer, allow_special=True)
        self._grammars: dict[int, Grammars] = {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Ids, or why there are none."""
        try:
            return self._answer(message)
        except LlmkitError as error:
            return told(error)
        except (MemoryError, RecursionError, OverflowError):
            what = "the prompt takes more memory to prepare than a request may"
            return {"problem": what, "hint": "shorten it", "kind": ResourceError.__name__}

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if "rule" in message:
            kind, *rule = message["rule"]
            vocab_size = message["vocab_size"]
            if vocab_size not in self._grammars:
                self._grammars[vocab_size] = Grammars(self._tokenizer, vocab_size)
            value = tuple(rule) if kind == "choice" else rule[0]
            _try_out(kind, self._grammars[vocab_size].compile_rule((kind, value)))
            return {"ids": []}
        if "template" in message:
            return {"turn_end": self._encoder.turn_end, "turns": asdict(self._encoder.tool_turns)}
        if message.get("suffix") is not None:
            return {"ids": self._encoder.encode_gap(message["text"], message["suffix"], message["files"])}
        if message.get("marks", False):
            return {"ids": self._marked.encode_marked(message["text"])}
        if message.get("whole", False):
            return {"ids": self._encoder.encode_whole(message["text"])}
        if "text" in message:
            encoder = self._marked if message.get("parse_special", False) else self._encoder
            return {"ids": encoder.encode(message["text"], special=message["special"])}
        if "ids" in message:
            return {"text": self._tokenizer.decode(message["ids"])}
        text = self._encoder.render_told(message["messages"], message["tools"], **message["kwargs"])
        text += message["prefill"]
        return {"ids": self._encoder.encode_rendered(text), "text": text}


def _try_out(kind: str, grammar: Grammar) -> None:
    """Find out what comes first by a rule: in the engine, all texts would wait for one that takes long.

    Raises:
        DataError: nothing can.
        ConfigError: it takes too long.
    """
    began = time.process_time()
    grammar.start().allowed()
    if (took := time.process_time() - began) > RULE_SECONDS:
        problem = f"{kind}: too costly, {took:.1f} seconds for a token"
        raise ConfigError(problem, hint="fewer repetitions within repetitions")


def as_error(answer: dict[str, Any]) -> LlmkitError | None:
    """The error that an answer is; None where it is none."""
    if "problem" not in answer:
        return None
    return as_told(answer["kind"], answer["problem"], answer["hint"])


def _bound_memory() -> None:
    """Let a prompt take so much memory and no more, where the system says what there is."""
    sizes = Path("/proc/self/statm")
    if sizes.exists():
        used = int(sizes.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))


def main(arguments: list[str]) -> None:
    """Answer until stdin ends."""
    worker = Worker(Path(arguments[0]))
    _bound_memory()
    out = sys.stdout.buffer
    write_frame(out, b"ready")
    while (content := read_frame(sys.stdin.buffer)) is not None:
        answer = worker.answer(msgspec.msgpack.decode(content))
        write_frame(out, msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
