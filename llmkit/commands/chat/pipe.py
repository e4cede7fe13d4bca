"""`llmkit chat` from a pipe or a file: each line is a turn, each reply ends with a line feed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.commands.chat.text import dropped_note, reply_record
from llmkit.commands.console import Console
from llmkit.errors import DataError
from llmkit.formats.jsonl import encode_line
from llmkit.formats.not_utf8 import not_utf8, utf8_hint
from llmkit.formats.streams import input_name, open_input

if TYPE_CHECKING:
    from llmkit.workflows.chat.chat import Chat


def chat_lines(chat: "Chat", turns: Path, console: Console, *, as_json: bool, flush: bool) -> None:
    """Reply to each line; empty ones are passed over. A slash has no meaning here: a line is data.

    Args:
        chat: the session; its transcript is written at the end, whatever ends it.
        turns: the file; `-` is stdin.
        console: says what is dropped where the context is full.
        as_json: a record for each reply.
        flush: whether each piece goes out at once; else each reply.

    Raises:
        DataError: a line is not UTF-8.
        UsageError: a line is longer than the context.
    """
    name = input_name(turns)
    out = sys.stdout.buffer
    try:
        with open_input(turns) as stream:
            for number, content in enumerate(stream, 1):
                try:
                    text = content.decode().rstrip("\r\n")
                except UnicodeDecodeError as error:
                    hint = f"{utf8_hint(name, content if number == 1 else b'')} | llmkit chat …"
                    raise DataError(f"{name}:{number}: {not_utf8(error)}", hint=hint) from None
                if not text.strip():
                    continue
                is_open = False
                try:
                    for piece in chat.say(text):
                        if not as_json and piece:
                            out.write(piece.encode())
                            is_open = True
                            if flush:
                                out.flush()
                finally:
                    if is_open:
                        out.write(b"\n")
                assert chat.last is not None
                if as_json:
                    out.write(encode_line(reply_record(chat.last, text)))
                elif not is_open:
                    out.write(b"\n")  # an empty reply is an empty line
                out.flush()
                if chat.last.dropped_turns:
                    console.note(dropped_note(chat.last))
    finally:
        chat.save()
