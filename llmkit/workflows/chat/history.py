"""A conversation: its messages, which of them the model still sees, and the transcript that it is kept in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.jsonl import Record, decode_field, encode_line, raw, read_records
from llmkit.formats.streams import open_output

Message = dict[str, Any]


@dataclass
class Conversation:
    """Messages in their order; a system message, if there is one, is the first."""

    messages: list[Message] = field(default_factory=list)
    record: Record = field(default_factory=dict)
    """The record that it was read from, whose other keys are kept."""
    first: int = 0
    """The model sees the messages from here on, and the system message."""
    tries: int = 0
    """Replies to the last message that were thrown away."""

    @property
    def system(self) -> str | None:
        """What the system message says."""
        is_there = bool(self.messages) and self.messages[0].get("role") == "system"
        return self.messages[0].get("content") if is_there else None

    @property
    def turns(self) -> int:
        """Messages of the user."""
        return sum(message.get("role") == "user" for message in self.messages)

    @property
    def last_said(self) -> str:
        """The user's last message; empty where there is none."""
        said = [message.get("content") for message in self.messages if message.get("role") == "user"]
        return str(said[-1]) if said else ""

    @property
    def dropped_turns(self) -> int:
        """Those of them that the model does not see any more."""
        return sum(message.get("role") == "user" for message in self.messages[: self.first])

    @property
    def is_answered(self) -> bool:
        """Whether there is a reply at all."""
        return any(message.get("role") == "assistant" for message in self.messages)

    def set_system(self, text: str) -> None:
        """Put the system message, in place of one that is there; empty text takes it away."""
        has_one = self.system is not None
        self.messages[: int(has_one)] = [{"role": "system", "content": text}] if text else []
        if self.first:
            self.first += int(bool(text)) - int(has_one)

    def say(self, text: str) -> None:
        """The user's next message."""
        self.messages.append({"role": "user", "content": text})
        self.tries = 0

    def answer(self, text: str) -> None:
        """The reply to it."""
        self.messages.append({"role": "assistant", "content": text})

    def take_back(self) -> None:
        """Throw away the last reply, for another one.

        Raises:
            UsageError: the user has not said anything.
        """
        roles = [message.get("role") for message in self.messages]
        if "user" not in roles:
            raise UsageError("there is no reply to write again", hint="say something first")
        last = len(roles) - roles[::-1].index("user")  # tool calls and their results go too
        self.tries += int(last < len(roles))
        del self.messages[last:]

    def upto(self, turns: int) -> "Conversation":
        """A conversation that begins with the first of these turns and their replies.

        Raises:
            UsageError: there are fewer.
        """
        users = [place for place, one in enumerate(self.messages) if one.get("role") == "user"]
        if not 0 <= turns <= len(users):
            raise UsageError(
                f"there are {plural(len(users), 'turn')} (found {turns})", hint="/branch 1 keeps the first"
            )
        end = users[turns] if turns < len(users) else len(self.messages)
        return Conversation(self.messages[:end], dict(self.record), min(self.first, end))

    def visible(self) -> list[Message]:
        """What the model sees."""
        if not self.first or self.system is None:
            return self.messages[self.first :]
        return [self.messages[0], *self.messages[self.first :]]

    def drop_oldest(self) -> bool:
        """Hide the oldest turn that the model sees, with its reply; False where only the last is left."""
        users = [place for place, one in enumerate(self.messages) if one.get("role") == "user"]
        seen = [place for place in users if place >= self.first]
        if len(seen) < 2:
            return False
        self.first = seen[1]
        return True


class Transcript:
    """A jsonl file of conversations, one record each, the last one being written: food for finetuning."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """resume: go on with the file's last conversation; else what is in the file is replaced.

        Raises:
            DataError: see `read_conversations`.
        """
        self._path = path
        earlier = read_conversations(path) if resume and path.exists() else []
        self.last = earlier.pop() if earlier else None
        self._earlier = earlier

    def close(self, conversation: Conversation) -> None:
        """A conversation is over; another one comes."""
        if conversation.is_answered:
            self._earlier.append(conversation)

    def save(self, conversation: Conversation) -> None:
        """Write the file: all or nothing."""
        write_conversations(self._path, [*self._earlier, conversation])


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of a jsonl file.

    Raises:
        MissingError: no such file.
        DataError: a line is not a record with messages.
    """
    found = []
    for line in read_records(path):
        messages = decode_field(line, "messages", list[Message])
        if any(not isinstance(message.get("role"), str) for message in messages):
            raise DataError(
                f"{line.where}: a message without a role", hint='{"role": "user", "content": TEXT}'
            )
        found.append(Conversation(messages, line.record))
    return found


def write_conversations(path: Path, conversations: list[Conversation]) -> None:
    """Write those conversations that have a message, a record each."""
    with open_output(path, force=True) as stream:
        for one in conversations:
            if one.messages:
                stream.write(encode_line(one.record | {"messages": raw(one.messages)}))
