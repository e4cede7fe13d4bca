"""A conversation as ids of which some are learnt.

The ids are those of the whole text encoded once. What is learnt is found as ranges of characters and carried
over to the tokens that touch them, so that no token is ever made of a part of the text alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import MissingError
from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.answers import AnswerFinder
from llmkit.tokens.audit import ExampleError, Fault
from llmkit.tokens.examples import Conversation
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend
from llmkit.tokens.record_messages import is_left_out
from llmkit.tokens.spans import token_spans
from llmkit.tokens.special_text import SpecialText
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.records import RecordTurns, Told

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Supervised:
    """N tokens, and which of them are learnt."""

    ids: TokenIds
    """(N,)"""
    learnt: Bools
    """(N,)"""
    lost: int = 0
    """Tokens that truncation took from the end."""

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Start and length of each run that is learnt, as token documents have them."""
        edges = np.flatnonzero(np.diff(self.learnt, prepend=False, append=False)).tolist()
        return [(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True)
class Prepared:
    """A text on its way to the encoder."""

    text: str
    ranges: list[tuple[int, int]]
    """Characters that are learnt."""
    is_chat: bool
    """Written by a template: what looks like a special token is one, and nothing is put around the ids."""
    faults: list[Fault] = field(default_factory=list)


class Supervisor:
    """Makes examples for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._finder = AnswerFinder(tokenizer)
        self._turns = RecordTurns(tokenizer)
        self._special = SpecialText(tokenizer)
        self._backends = {True: parsing_backend(tokenizer), False: ordinary_backend(tokenizer)}
        added = tokenizer.backend.get_added_tokens_decoder()
        ends = {index for index, token in added.items() if token.special and index != tokenizer.bos_id}
        ends |= set() if tokenizer.eos_id is None else {tokenizer.eos_id}
        self._ends = ends
        self._known: dict[int, bytes] = {}

    def supervise(self, conversation: Conversation) -> tuple[Supervised, list[Fault]]:
        """One conversation by itself; many are encoded in batches between `prepare` and `finish`.

        Raises:
            MissingError, ConfigError, ExampleError: as `prepare`.
        """
        prepared = self.prepare(conversation)
        encoded = self._backends[prepared.is_chat].encode(prepared.text, add_special_tokens=False)
        example = self.finish(prepared, np.array(encoded.ids, np.uint32))
        return example, [*prepared.faults, *self.faults_of(example, prepared)]

    def prepare(self, conversation: Conversation) -> Prepared:
        """The text of a conversation, what of it is learnt, and what is wrong with it so far.

        Raises:
            MissingError: messages need a chat template, and the tokenizer has none.
            ConfigError: the template does not parse.
            ExampleError: the template refuses these messages, or hides what the assistant wrote.
        """
        if conversation.messages and self.tokenizer.chat_template is not None:
            return self._by_template(conversation)
        if conversation.plain is None:
            raise MissingError(
                "messages need a chat template, and the tokenizer has none",
                hint="add --template chatml, or --template FILE with a template of your own",
            )
        prompt, completion = conversation.plain
        faults = [] if completion.strip() else [Fault("answer.empty", "the answer has no text")]
        faults += self._special.faults([{"role": "text", "content": prompt + completion}], is_chat=False)
        text = prompt + completion
        return Prepared(text, [(len(prompt), len(text))], False, faults)

    def finish(self, prepared: Prepared, ids: TokenIds) -> Supervised:
        """The example that a prepared text and its ids are."""
        backend = self._backends[prepared.is_chat]
        chars = token_spans(self.tokenizer, backend, prepared.text, ids, self._known).chars
        learnt = learnt_tokens(chars, prepared.ranges)
        if prepared.is_chat or not len(ids):
            return Supervised(ids, learnt)
        if prepared.ranges == [(0, len(prepared.text))]:
            learnt[:] = True  # also what stands for no character: the ▁ that some put before a text
        bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
        before, after = [] if bos is None else [bos], [] if eos is None else [eos]
        return Supervised(
            np.concatenate([np.array(before, np.uint32), ids, np.array(after, np.uint32)]),
            np.concatenate([np.full(len(before), learnt[0]), learnt, np.full(len(after), True)]),
        )

    def faults_of(self, example: Supervised, prepared: Prepared) -> list[Fault]:
        """What is wrong with an example that has not been cut."""
        faults = []
        if not example.learnt.any():
            faults.append(Fault("mask.zero", "no token is learnt", 0))
        bos = self.tokenizer.bos_id
        if bos is not None and len(example.ids) > 1:
            places = np.flatnonzero(example.ids == bos)
            pairs = places[1:][np.diff(places) == 1]
            if len(pairs) and (pairs[0] == 1 or bos != self.tokenizer.eos_id):
                faults.append(Fault("bos.double", "two begin tokens in a row"))
        lasts = [start + length - 1 for start, length in example.runs]
        if prepared.is_chat or self.tokenizer.eos_id is None:
            open_ends = sum(int(example.ids[last]) not in self._ends for last in lasts)
            if open_ends:
                problem = f"{open_ends} of {len(lasts)} answers end without an end token"
                faults.append(Fault("end.missing", problem, open_ends))
        return faults

    def _by_template(self, conversation: Conversation) -> Prepared:
        told = self._turns.tell(conversation.messages, conversation.tools)
        messages = told.messages
        found = self._finder.find(messages, told.tools)
        wanted = [_is_wanted(number, told, conversation) for number in range(len(messages))]
        unnumbered = any(answer.message < 0 for answer in found.answers)
        asked = [number for number, one in enumerate(messages) if one.get("role") == "assistant"]
        if unnumbered and not all(wanted[number] for number in asked):
            raise ExampleError(
                "mask.unclear",
                f"{len(found.answers)} generation blocks for {len(asked)} answers, of which only some are "
                "to be learnt",
                hint="write one {% generation %} block for each answer in the chat template",
            )
        ranges = [(one.start, one.end) for one in found.answers if one.message < 0 or wanted[one.message]]
        faults = [
            Fault("answer.empty", f"message {_place(told, number)}: the answer has no text")
            for number in asked
            if wanted[number] and _is_empty(messages[number])
        ]
        faults += [
            Fault("text.lost", f"message {_place(told, n)}: the template leaves (a part of) it out")
            for n in found.lost
        ]
        faults += [
            Fault("mask.prompt", f"message {_place(told, n)} is learnt, and it is not the assistant's")
            for n in found.strange
        ]
        faults += self._special.faults(conversation.messages, is_chat=True)
        return Prepared(found.text, ranges, True, faults)


def learnt_tokens(chars: NDArray[np.int64], ranges: Sequence[tuple[int, int]]) -> Bools:
    """Which tokens are learnt: all from the first that touches a range to the last that does.

    Args:
        chars: (N, 2) the characters of each token.
        ranges: characters that are learnt.
    """
    learnt = np.zeros(len(chars), bool)
    for start, end in ranges:
        touching = np.flatnonzero((chars[:, 1] > start) & (chars[:, 0] < end) & (chars[:, 1] > chars[:, 0]))
        if len(touching):
            learnt[touching[0] : touching[-1] + 1] = True
    return learnt


def cut(example: Supervised, limit: int, config: SuperviseConfig) -> tuple[Supervised, list[Fault]]:
    """An example of at most `limit` tokens, and what was lost.

    Raises:
        ExampleError: it is longer and `config.long` is `error`.
    """
    size = len(example.ids)
    if size <= limit:
        return example, []
    value = {"value": float(size), "threshold": float(limit)}
    problem = f"{size:,} tokens, {limit:,} are the most"
    if config.long == "error":
        raise ExampleError("long.dropped", problem, hint=f"--max-tokens {size}, or --long cut or drop")
    if config.long == "drop":
        return example, [Fault("long.dropped", problem, **value)]
    kept = Supervised(example.ids[:limit], example.learnt[:limit], size - limit)
    if not example.learnt[limit:].any():
        return kept, []
    if not kept.learnt.any():
        return kept, [Fault("cut.all", f"the answer is cut away: {problem}", **value)]
    return kept, [Fault("cut.answer", f"an answer is cut: {problem}", **value)]


def _is_wanted(number: int, told: Told, conversation: Conversation) -> bool:
    """Whether a message is to be learnt.

    Raises:
        ExampleError: it was made of several answers, of which only some are.
    """
    sources = [(place, conversation.messages[place]) for place in told.places[number]]
    wanted = {place >= conversation.learn_from and not is_left_out(one) for place, one in sources}
    if len(wanted) > 1 and told.messages[number].get("role") == "assistant":
        raise ExampleError(
            "mask.unclear",
            f"message {sources[-1][0]}: put as one answer with the message before it, and only one is learnt",
            hint="put a user's message between them, or give both the same weight",
        )
    return True in wanted


def _place(told: Told, number: int) -> int:
    """The number of a message in its record; of one that tells of the tools, the first."""
    return (*told.places[number], 0)[0]


def _is_empty(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return not message.get("tool_calls") and not (content.strip() if isinstance(content, str) else content)
