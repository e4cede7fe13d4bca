"""llmkit chat: one conversation with one model, whose cache is kept from turn to turn."""

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from llmkit.engine.completion import Piece, complete_all
from llmkit.engine.config import NUMBERS
from llmkit.engine.engine import Engine
from llmkit.engine.request import Request
from llmkit.errors import LlmkitError, UsageError
from llmkit.formats.jsonl import raw
from llmkit.workflows.chat.history import (
    Conversation,
    Message,
    Transcript,
    read_conversations,
    write_conversations,
)
from llmkit.workflows.chat.job import ChatJob
from llmkit.workflows.chat.request import request_of
from llmkit.workflows.chat.thoughts import ThoughtParts, thought_parts
from llmkit.workflows.chat.turn import Turn
from llmkit.workflows.generate.adapter import OFF
from llmkit.workflows.generate.overrides import OVERRIDES
from llmkit.workflows.peer_names import meant
from llmkit.workflows.tool.talk import Said

if TYPE_CHECKING:
    from llmkit.workflows.generate.prompt_cache import PromptCache

SETTABLE = tuple(name for name in NUMBERS if name != "samples")
"""Settings that can change from reply to reply."""


class Chat:
    """A session: takes messages, gives replies piece by piece, and keeps the transcript.

    Attributes:
        conversation: what has been said.
        limit: tokens of the context.
        used: of them, by what the model saw last and wrote.
        last: the last reply.
        thinking: whether the piece that came last is of what the model thinks, marks included.
        adapter: what replies from now on are by; None: the model alone.
    """

    def __init__(self, job: ChatJob, engine: Engine, cache: "PromptCache | None" = None) -> None:
        self.limit = job.context
        self.used = 0
        self.last: Turn | None = None
        self.thinking = False
        self.adapter = job.job.adapters.default
        self._job = job.job
        self._engine = engine
        self._cache = cache
        self._parts: ThoughtParts | None = None
        self._read = 0  # tokens that stood before the reply, calls and their results included
        files = job.files
        self._transcript = None
        last = None
        if files.transcript is not None:
            self._transcript = Transcript(files.transcript, resume=files.resume)
            last = self._transcript.last
        self.conversation = last or Conversation()
        if self.conversation.system is None and job.job.config.system:
            self.conversation.set_system(job.job.config.system)
        self._name_tools()

    def say(self, text: str) -> Generator[str]:
        """The pieces of the reply to a message. Closed early, it keeps what has come of it.

        Raises:
            UsageError: the message is longer than the context; it is taken back.
            DataError: the template refuses it, or the scores are not numbers; the same.
        """
        before = [*self.conversation.messages]
        self.conversation.say(text)
        yield from self._reply(before)

    def again(self) -> Generator[str]:
        """The pieces of another reply to the last message.

        Raises:
            UsageError, DataError: see `say`; also, nothing has been said.
        """
        before = [*self.conversation.messages]
        self.conversation.take_back()
        yield from self._reply(before)

    def edit(self, text: str) -> Generator[str]:
        """The pieces of the reply to a message in the place of the last one.

        Raises:
            UsageError, DataError: see `say`; also, nothing has been said.
        """
        before = [*self.conversation.messages]
        self.conversation.take_back()
        del self.conversation.messages[-1]
        self.conversation.say(text)
        yield from self._reply(before)

    def branch(self, turns: int) -> None:
        """Go on after so many turns in another way; the transcript keeps the conversation as it was, too.

        Raises:
            UsageError: there are not so many.
        """
        self._replace(self.conversation.upto(turns))

    def set(self, name: str, value: str) -> None:
        """Change a setting of how replies are drawn, from the next one on.

        Args:
            name: one of SETTABLE.
            value: as it would be typed behind the flag.

        Raises:
            UsageError: no such setting, or no such value.
        """
        if name not in SETTABLE:
            guess = meant(name, SETTABLE)
            known = f"did you mean {guess}?" if guess else f"settings: {', '.join(SETTABLE)}"
            raise UsageError(f"no setting {name}", hint=known)
        try:
            given = {name: msgspec.convert(value, OVERRIDES[name], strict=False)}
        except msgspec.ValidationError as error:
            raise UsageError(f"{name}: {error}", hint=f"/set {name} NUMBER") from None
        self._job = replace(self._job, sampling=replace(self._job.sampling, **given))

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that there are."""
        return self._engine.adapters.names

    def use(self, name: str) -> None:
        """Reply by another adapter from now on; `off` is the model alone. What was said is read again by it.

        Raises:
            UsageError: there is none of this name.
        """
        self.adapter = None if name == OFF else self._engine.adapters.get(name).name

    def reset(self) -> None:
        """Begin a new conversation, with the same system message."""
        system = self.conversation.system
        self._replace(Conversation())
        if system:
            self.conversation.set_system(system)

    def load(self, path: Path) -> None:
        """Go on with the last conversation of a file.

        Raises:
            MissingError, DataError: see `read_conversations`; also, there is none.
        """
        found = read_conversations(path)
        if not found:
            raise UsageError(f"{path}: has no conversation", hint="/save FILE writes one")
        self._replace(found[-1])

    def export(self, path: Path) -> None:
        """Write the conversation to a file of its own.

        Raises:
            UsageError: the file exists.
        """
        if path.exists():
            raise UsageError(f"{path}: already exists", hint="/save ANOTHER-NAME")
        write_conversations(path, [self.conversation])

    def keeping(self) -> AbstractContextManager[None]:
        """For the length of the session: what it has read is kept for another, where that was asked for."""
        return nullcontext() if self._cache is None else self._cache.keeping(self._engine)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know when `keeping` is over."""
        return () if self._cache is None else self._cache.notes

    def save(self) -> None:
        """Write the transcript, if one is kept."""
        if self._transcript is not None:
            self._transcript.save(self.conversation)

    def _replace(self, conversation: Conversation) -> None:
        if self._transcript is not None:
            self._transcript.close(self.conversation)
        self.conversation = conversation
        self.used = 0
        self._name_tools()

    def _name_tools(self) -> None:
        """The transcript says what could be called."""
        if self._job.talk is not None:
            self.conversation.record["tools"] = raw(self._job.talk.toolbox.functions)

    def _reply(self, before: list[Message]) -> Generator[str]:
        """The pieces of a reply; where nothing comes of it, the messages are those of before."""
        begin = time.perf_counter()
        conversation, dropped = self.conversation, self.conversation.dropped_turns
        try:
            request = self._request()
        except LlmkitError:
            conversation.messages = before
            raise
        cached = self._engine.counts.cached_tokens
        turn = Turn(
            number=conversation.turns,
            prompt_tokens=len(request.prompt),
            cached_tokens=0,
            seed=request.sampling.seed,
            dropped_turns=conversation.dropped_turns - dropped,
            adapter=request.adapter,
        )
        self.last = turn
        reply = self._pieces(request, turn)
        try:
            for said in reply:
                turn.completion_tokens += said.piece.token is not None
                turn.seconds = time.perf_counter() - begin
                turn.first_seconds = turn.first_seconds or turn.seconds
                turn.text += said.text
                turn.finish = None if said.piece.completion is None else said.piece.completion.finish
                gap = "\n" if said.asks and turn.text else ""  # what is said of its calls has its own lines
                for part, is_thought in self._cut(said, gap):
                    self.thinking = is_thought
                    yield part  # also an empty one: whoever listens may want to stop
        finally:
            reply.close()
            turn.cached_tokens = self._engine.counts.cached_tokens - cached
            self.used = self._read + turn.completion_tokens
            if turn.finish is None and not turn.text and not turn.calls:
                conversation.messages = before  # stopped before it began
            else:
                conversation.answer(turn.text)

    def _request(self, **so_far: int) -> Request:
        """What the model is asked, after so many calls and tokens of this reply."""
        who = self.adapter
        request = request_of(self._job, self.conversation, context=self.limit, adapter=who, **so_far)
        assert self._job.tokenizer is not None
        self._parts = thought_parts(self._job.tokenizer, request.prompt)
        return request

    def _cut(self, said: Said, gap: str) -> list[tuple[str, bool]]:
        """A piece and the gap behind it in parts, one at least, and whether each is thought."""
        if self._parts is None:
            return [(said.text + gap, False)]
        ended = said.piece.completion is not None
        parts = [*self._parts.push(said.text), *(self._parts.flush() if ended else ())]
        return [*parts, (gap, False)] if gap else parts or [("", self.thinking)]

    def _pieces(self, request: Request, turn: Turn) -> Generator[Said]:
        """The pieces of a reply: of one text, or of several with calls between them, the last being it."""
        self._read, talk = len(request.prompt), self._job.talk
        if talk is None:
            pieces = cast(Generator[Piece], complete_all(self._engine, [request], self._job.tokenizer))
            with closing(pieces):
                yield from (Said(piece.text, piece) for piece in pieces)
            return

        def following(done: int, drawn: int) -> Request:
            if not done:
                return request
            turn.calls, turn.text = done, ""
            following = self._request(done=done, drawn=drawn)
            turn.prompt_tokens += len(following.prompt)
            self._read = len(following.prompt) - turn.completion_tokens
            return following

        with closing(talk.reply(self._engine, self.conversation.messages, following)) as said:
            for one in said:
                if one.piece.token is None:
                    turn.calls, turn.text = one.calls, ""
                yield one


def start_chat(job: ChatJob) -> Chat:
    """Read the weights, and begin or go on.

    Raises:
        DataError, MissingError, ConfigError, ResourceError: see `place` and `start_engine`.
    """
    from llmkit.workflows.generate.model import place, start_engine
    from llmkit.workflows.generate.prompt_cache import open_prompt_cache

    placement = place(job.job, job.extent)
    cache = open_prompt_cache(job.job, placement)
    return Chat(job, start_engine(job.job, placement), cache)
