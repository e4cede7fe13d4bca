"""Which texts go through the model in the next pass, and with how many tokens.

One rule: each text's computed positions chase its tokens, as far as memory and the size of a pass allow.
Texts at work come first (share.py says how they share a pass), then new ones. Where memory runs out, the
youngest text at work gives back all of its own and waits to start again: the oldest always has its way, so
that every text ends. A long text that waits for memory is passed by short ones, as far as it loses nothing.
"""

from collections import defaultdict
from dataclasses import dataclass

from llmkit.engine.share import share_pass
from llmkit.engine.text import Text
from llmkit.engine.text_memory import TextMemory
from llmkit.errors import ResourceError

_PASSING_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of one text for a pass."""

    text: Text
    start: int
    """Positions computed before."""
    count: int
    """Tokens to compute, drafts included."""
    num_drafts: int
    """The last of them."""

    @property
    def completes(self) -> bool:
        """Whether every token is computed after the pass, so that the next can be drawn."""
        return self.start + self.count == len(self.text.tokens) + self.num_drafts

    @property
    def unsure(self) -> range:
        """Positions that the text may come to only, where some drafts are wrong."""
        end = self.start + self.count
        return range(end - self.num_drafts, end)


class Scheduler:
    """Holds every text, and the memory."""

    def __init__(self, memory: TextMemory, *, max_texts: int, pass_tokens: int, whole: bool = False) -> None:
        """
        Args:
            memory: of all texts.
            max_texts: at work at once.
            pass_tokens: most tokens of a pass; at least max_texts, so that each can have one.
            whole: whether a text has all the memory that it may come to need from its beginning, and never
                starts again: for models in which it would not be the same text then.
        """
        self.memory = memory
        self.waiting: list[Text] = []
        self.working: list[Text] = []
        self.restarts = 0
        """How often a text lost its memory to an older one."""
        self._max_texts = max_texts
        self._pass_tokens = pass_tokens
        self._whole = whole
        self._served: dict[str, int] = defaultdict(int)

    def submit(self, text: Text) -> None:
        """Take in a text.

        Raises:
            ResourceError: it could come to need more memory than there is.
        """
        if self.memory.most(text) > self.memory.pool.num_blocks:
            raise ResourceError(
                f"the text may come to {text.most_positions:,} positions, and the cache has "
                f"{self.memory.positions:,}",
                hint="fewer --max-tokens, or more memory for the cache",
            )
        self._join(text.request.key)
        self.waiting.append(text)

    def finish(self, text: Text) -> None:
        """A text is complete or given up: its memory is free at once."""
        for texts in (self.working, self.waiting):
            if text in texts:
                texts.remove(text)
        self.memory.give_back(text)
        self._forget_who_left(text.request.key)

    def restart(self, text: Text) -> None:
        """A text must be computed again from its first token."""
        self.memory.give_back(text)

    def plan(self) -> list[Work]:
        """The next pass; empty only where there is no text."""
        works: list[Work] = []
        left = self._pass_tokens
        preempted = False
        texts = sorted(self.working, key=_rank)
        places = self._max_texts - len(texts)
        newcomers = sum(len(text.tokens) for text in self.waiting) if places > 0 else 0
        known = [len(text.tokens) - text.computed for text in texts]
        shares = share_pass(known, newcomers, left)
        spare = left - sum(shares)  # for drafts
        for text, share in zip(texts, shares, strict=True):
            if text not in self.working:
                continue  # it gave back its memory to an older one
            work = self._fit(text, share, spare)
            spare -= work.num_drafts
            while work.count and not self.memory.hold(text, text.computed + work.count):
                preempted = True
                youngest = max(self.working, key=_rank)
                self._preempt(youngest)
                if youngest is text:
                    work = Work(text, 0, 0, 0)
            if work.count:
                self.memory.leave_states(text, work.unsure)
                works.append(work)
                left -= work.count
        if not preempted:
            works += self._begin(left)
        for work in works:
            self._served[work.text.request.key] += work.count
        return works

    def commit(self, work: Work, computed: int) -> None:
        """A pass is over.

        Args:
            work: what was in it.
            computed: positions of the text that are in memory and stay: without drafts that were refused.
        """
        self.memory.commit(work.text, work.start, computed)

    def _fit(self, text: Text, share: int, spare: int = 0) -> Work:
        """As many of a text's tokens as it may have; drafts only behind all others, from what is spare."""
        known = len(text.tokens) - text.computed
        drafts = self.memory.most_guesses(text, min(len(text.drafts), spare)) if known <= share else 0
        count = self.memory.until_stop(text, min(known, share))
        drafts = drafts if count == known else 0
        return Work(text, text.computed, count + drafts, drafts)

    def _begin(self, left: int) -> list[Work]:
        """Work of waiting texts, as many as there is room for."""
        works: list[Work] = []
        if not left or len(self.working) >= self._max_texts:
            return works
        first: Text | None = None  # in turn, of those that wait for memory
        for text in sorted(self.waiting, key=self._turn):
            if not left or len(self.working) >= self._max_texts:
                break
            if first is not None and not self._may_pass(text, first):
                continue
            self.memory.find(text)
            if self.memory.is_coming(text, self.working):
                self.restart(text)
                continue
            if not self._admit(text):
                self.restart(text)
                first = first or text
                continue
            works.append(self._fit(text, left))
            self.memory.hold(text, text.computed + works[-1].count)
            left -= works[-1].count
        return works

    def _may_pass(self, text: Text, first: Text) -> bool:
        """Whether a short text may go before one that waits for memory: all that have take a quarter of it at
        most, and never what that one needs beside them, so that it begins when those before it end."""
        memory = self.memory
        room = memory.pool.num_blocks
        room = min(int(room * _PASSING_SHARE), room - memory.most(first))
        later = [one for one in self.working if one.number > first.number]
        return sum(memory.most(one) for one in (text, *later)) <= room

    def _turn(self, text: Text) -> tuple[int, int, int]:
        return text.request.priority, self._served[text.request.key], text.number

    def _join(self, key: str) -> None:
        """Whoever had no text here is served as far as the least served of the others: no credit grows."""
        others = {text.request.key for text in (*self.waiting, *self.working)}
        if others and key not in others:
            self._served[key] = max(self._served[key], min(self._served[other] for other in others))

    def _forget_who_left(self, key: str) -> None:
        """Where that was a key's last text: forget who has none, and would `_join` as somebody new does."""
        here = {text.request.key for text in (*self.waiting, *self.working)}
        if key in here:
            return
        least = min((self._served[one] for one in here), default=None)
        for one in [one for one, served in self._served.items() if one not in here]:
            if least is None or self._served[one] <= least:
                del self._served[one]

    def _admit(self, text: Text) -> bool:
        """Put a text to work, if its tokens have room in memory beside what those at work need next."""
        memory = self.memory
        missing = memory.missing(text, text.most_positions if self._whole else len(text.tokens))
        owed = sum(memory.missing(one, len(one.tokens), spare=True) for one in self.working)
        if missing + owed > memory.pool.num_free:
            return False
        if self._whole:
            memory.hold(text, text.most_positions)
        if not text.drawn and not text.restarts:
            text.from_cache = text.computed
        self.waiting.remove(text)
        self.working.append(text)
        return True

    def _preempt(self, text: Text) -> None:
        self.restart(text)
        text.restarts += 1
        self.restarts += 1
        self.working.remove(text)
        self.waiting.append(text)


def _rank(text: Text) -> tuple[int, int]:
    return text.request.priority, text.number
