"""llmkit chat: one conversation with one model, whose cache is kept from turn to turn."""

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from llmkit.engine.completion import Piece, complete_all
from llmkit.engine.engine import Engine
from llmkit.engine.request import FinishReason, Request
from llmkit.engine.seeds import derive_seed
from llmkit.errors import LlmkitError, UsageError
from llmkit.workflows.chat_history import (
    Conversation,
    Message,
    Transcript,
    read_conversations,
    write_conversations,
)
from llmkit.workflows.chat_job import ChatJob
from llmkit.workflows.generate_adapter import OFF
from llmkit.workflows.generate_overrides import OVERRIDES

if TYPE_CHECKING:
    from llmkit.workflows.prompt_cache import PromptCache

SETTABLE = (
    *("max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "seed"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
"""Settings that can change from reply to reply."""
_REPLY_SHARE = 4
"""One part in so many of the context is kept free for a reply, where --max-tokens asks for more."""


@dataclass
class Turn:
    """One reply, in figures."""

    number: int
    """Of the user's messages in the conversation."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, found in the cache."""
    seed: int
    dropped_turns: int
    """That the model stopped seeing to make room for this one."""
    adapter: str | None = None
    """None: the model alone."""
    text: str = ""
    completion_tokens: int = 0
    finish: FinishReason | None = None
    """None: the reply was stopped."""
    first_seconds: float = 0.0
    """Until the first token."""
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """After the first token."""
        after = self.seconds - self.first_seconds
        return (self.completion_tokens - 1) / after if after > 0 and self.completion_tokens > 1 else 0.0


class Chat:
    """A session: takes messages, gives replies piece by piece, and keeps the transcript.

    Attributes:
        conversation: what has been said.
        limit: tokens of the context.
        used: of them, by what the model saw last and wrote.
        last: the last reply.
        adapter: what replies from now on are by; None: the model alone.
    """

    def __init__(self, job: ChatJob, engine: Engine, cache: "PromptCache | None" = None) -> None:
        self.limit = job.context
        self.used = 0
        self.last: Turn | None = None
        self.adapter = job.job.adapters.default
        self._job = job.job
        self._engine = engine
        self._cache = cache
        files = job.files
        self._transcript = None
        last = None
        if files.transcript is not None:
            self._transcript = Transcript(files.transcript, resume=files.resume)
            last = self._transcript.last
        self.conversation = last or Conversation()
        if self.conversation.system is None and job.job.config.system:
            self.conversation.set_system(job.job.config.system)

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
            raise UsageError(f"no setting {name}", hint=f"settings: {', '.join(SETTABLE)}")
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

    def save(self) -> None:
        """Write the transcript, if one is kept."""
        if self._transcript is not None:
            self._transcript.save(self.conversation)

    def _replace(self, conversation: Conversation) -> None:
        if self._transcript is not None:
            self._transcript.close(self.conversation)
        self.conversation = conversation
        self.used = 0

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
        pieces = cast(Generator[Piece], complete_all(self._engine, [request], self._job.tokenizer))
        try:
            for piece in pieces:
                turn.completion_tokens += 1
                turn.seconds = time.perf_counter() - begin
                turn.first_seconds = turn.first_seconds or turn.seconds
                turn.text += piece.text
                turn.finish = None if piece.completion is None else piece.completion.finish
                yield piece.text  # also an empty one: whoever listens may want to stop
        finally:
            pieces.close()
            turn.cached_tokens = self._engine.counts.cached_tokens - cached
            self.used = turn.prompt_tokens + turn.completion_tokens
            if turn.finish is None and not turn.text:
                conversation.messages = before  # stopped before it began
            else:
                conversation.answer(turn.text)

    def _request(self) -> Request:
        """What the model sees, the oldest turns dropped as far as that takes to leave room for a reply."""
        encoder, conversation = self._job.encoder, self.conversation
        assert encoder is not None and self._job.grammars is not None
        sampling, first = self._job.sampling, conversation.first
        room = min(sampling.max_tokens, self.limit // _REPLY_SHARE)
        while True:
            ids = encoder.encode_rendered(encoder.render(conversation.visible()))
            if len(ids) + room <= self.limit or not conversation.drop_oldest():
                break
        if len(ids) >= self.limit:
            conversation.first = first
            raise UsageError(
                f"the message alone takes {len(ids):,} tokens of a context of {self.limit:,}",
                hint="say it in fewer words, or raise --context as far as the model's own",
            )
        seed = derive_seed(sampling.seed, f"turn {conversation.turns} try {conversation.tries}")
        own = replace(sampling, seed=seed, max_tokens=min(sampling.max_tokens, self.limit - len(ids)))
        ends = frozenset(() if encoder.turn_end is None else (encoder.turn_end,))
        grammar = self._job.grammars.compile(own)
        return Request(tuple(ids), own, ends, adapter=self.adapter, grammar=grammar)


def start_chat(job: ChatJob) -> Chat:
    """Read the weights, and begin or go on.

    Raises:
        DataError, MissingError, ConfigError, ResourceError: see `place` and `start_engine`.
    """
    from llmkit.workflows.generate_model import place, start_engine
    from llmkit.workflows.prompt_cache import open_prompt_cache

    placement = place(job.job, job.extent)
    cache = open_prompt_cache(job.job, placement)
    return Chat(job, start_engine(job.job, placement), cache)
