"""`llmkit chat` at a terminal: a prompt with the context meter, replies as they are written, /commands."""

import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.commands.base import without_skip_bad
from llmkit.commands.chat.text import COMMANDS, ELSEWHERE, HELP, describe_stats, dropped_note, reply_record
from llmkit.commands.console import Console
from llmkit.errors import LlmkitError, UsageError, nearest
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import encode_line

if TYPE_CHECKING:
    from llmkit.workflows.chat.chat import Chat

DIM, RESET = "\x1b[2m", "\x1b[0m"


def chat_by_hand(chat: "Chat", console: Console, *, as_json: bool = False) -> None:
    """Talk until /quit or the end of the input. The transcript is written after each turn.

    Args:
        chat: the session.
        console: says all but the replies.
        as_json: a record for each reply, where it is complete.
    """
    console.note("/help lists the commands, Ctrl-D ends")
    hand = _Hand(chat, console, as_json=as_json)
    while True:
        try:
            line = _ask(f"[{chat.used:,} of {chat.limit:,}] > ")
        except KeyboardInterrupt:
            console.note("\nCtrl-D or /quit ends")
            continue
        except UnicodeDecodeError:
            console.note("that was not UTF-8, and is not said")
            continue
        if line is None or _known_here(line.strip()) == "/quit":
            return
        try:
            hand.take(line)
        except LlmkitError as error:
            hint = without_skip_bad(error.hint)
            print(f"{error.problem}\n  hint: {hint}", file=sys.stderr, flush=True)


class _Hand:
    """What each line that was typed does."""

    def __init__(self, chat: "Chat", console: Console, *, as_json: bool) -> None:
        self._chat = chat
        self._console = console
        self._as_json = as_json

    def take(self, line: str) -> None:
        text = line.strip()
        if not text:
            return
        _check(text)
        if text.startswith("/") and not text.startswith("//"):
            word, _, rest = text.partition(" ")
            self._command(_known_here(word), rest.strip())
        else:
            self._show(self._chat.say(text.removeprefix("/")))

    def _command(self, word: str, rest: str) -> None:
        chat, say = self._chat, self._console.note
        match word:
            case "/multi" if not rest:
                self._show(chat.say(_several_lines()))
            case "/regenerate":
                self._show(chat.again())
            case "/edit" if rest:
                self._show(chat.edit(rest))
            case "/branch" if rest.isdecimal():
                chat.branch(int(rest))
                say(f"goes on after turn {rest}")
            case "/set" if len(rest.split()) == 2:
                name, value = rest.split()
                chat.set(name.replace("-", "_"), value)
                say(f"{name} is {value}")
            case "/adapter" if rest:
                chat.use(rest)
                say(f"replies by {rest}" if chat.adapter else "replies by the model alone")
            case "/adapter":
                raise UsageError(
                    f"/adapter needs a name (loaded: {', '.join(chat.adapters) or 'none'})",
                    hint="/adapter NAME, or /adapter off",
                )
            case "/multi":
                raise UsageError("/multi stands alone in its line", hint="the message begins in the next one")
            case "/edit" | "/branch" | "/set":
                line = next(line for line in COMMANDS if line.startswith(word))
                raise UsageError(f"{word} needs more", hint=line)
            case "/system":
                chat.conversation.set_system(rest)
                say("the system message is set" if rest else "there is no system message")
            case "/reset":
                chat.reset()
                say("a new conversation")
            case "/save" | "/load" if not rest:
                raise UsageError(f"{word} needs the name of a file", hint=f"{word} talk.jsonl")
            case "/save":
                file = Path(rest).expanduser()  # there is no shell that would
                chat.export(file)
                say(f"written to {file}")
            case "/load":
                chat.load(Path(rest).expanduser())
                say(f"goes on with {plural(len(chat.conversation.messages), 'message')}")
            case "/stats":
                print(describe_stats(chat), file=sys.stderr, flush=True)
            case "/help":
                print(HELP, file=sys.stderr, flush=True)
            case _:
                guess = nearest(word, [name.partition(" ")[0] for name in COMMANDS])
                raise UsageError(
                    f"no command {word}",
                    hint=f"did you mean {guess}? (/help)" if guess else "/help lists them",
                )

    def _show(self, reply: Generator[str]) -> None:
        """Write a reply as it comes, thoughts dimmed; Ctrl-C ends it, and what has come is kept."""
        out = sys.stdout
        dims = out.isatty() and self._console.uses_color(out)
        with _stopping() as is_stopped:
            try:
                for piece in reply:
                    if not self._as_json:
                        out.write(_dimmed(piece) if dims and self._chat.thinking else piece)
                        out.flush()
                    if is_stopped():
                        break
            finally:
                reply.close()
        turn = self._chat.last
        assert turn is not None
        said = self._chat.conversation.last_said
        out.write(encode_line(reply_record(turn, said)).decode() if self._as_json else "\n")
        out.flush()
        self._chat.save()
        if is_stopped():
            self._console.note("stopped")
        if turn.dropped_turns:
            self._console.note(dropped_note(turn))


def _dimmed(piece: str) -> str:
    return f"{DIM}{piece}{RESET}" if piece else ""


def _known_here(word: str) -> str:
    """A command by its name here, where that is another one elsewhere."""
    return ELSEWHERE.get(word, word)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C has come: the engine finishes its step first. A second one interrupts."""
    came = False

    def note(signum: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def _several_lines() -> str:
    """What is typed up to /end: a slash in it has no meaning."""
    lines: list[str] = []
    try:
        while (line := _ask("... ")) is not None and line.strip() != "/end":
            lines.append(line.removesuffix("\n"))
    except KeyboardInterrupt:
        lines = []
    except UnicodeDecodeError:
        raise _not_utf8() from None
    text = "\n".join(lines)
    if not text.strip():
        raise UsageError("nothing is said", hint="/multi, the lines of the message, /end")
    _check(text)
    return text


def _check(text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # how Python keeps bytes that are no UTF-8
        raise _not_utf8()


def _not_utf8() -> UsageError:
    return UsageError("that was not UTF-8", hint="set the terminal to UTF-8")


def _ask(prompt: str) -> str | None:
    """A line from the terminal; None at the end. The prompt never goes where replies are piped on."""
    if sys.stdout.isatty():
        import readline  # noqa: F401 (gives `input` a history and editing)

        try:
            return input(prompt)
        except EOFError:
            print()
            return None
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline() or None
