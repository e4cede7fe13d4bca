"""Guessing as a part of the engine's step: before a pass, after it, and what came of it."""

from collections.abc import Sequence

from llmkit.engine.drafts import Proposer
from llmkit.engine.gain import Gain
from llmkit.engine.scheduler import Work
from llmkit.engine.speculation_report import SpeculationReport
from llmkit.engine.text import Text


class Speculation:
    """Asks for guesses where they pay, and counts."""

    def __init__(self, proposer: Proposer, gain: Gain | None = None) -> None:
        """
        Args:
            proposer: where guesses come from.
            gain: says whether to guess; None: always.
        """
        self._proposer = proposer
        self._gain = gain
        self._proposed = self._accepted = self._verified = 0
        self._begin = 0.0
        self._guess_seconds = 0.0
        """Not told to the gain yet."""

    def begin(self, texts: Sequence[Text], most: Sequence[int]) -> None:
        """Give drafts to texts that want their next token, at most so many to each; the pass comes next."""
        gain = self._gain
        self._begin = 0.0 if gain is None else gain.clock()
        guesses: list[list[int]] = [[] for _ in texts]
        if texts and (gain is None or gain.wants_guesses(len(texts))):
            guesses = self._proposer.propose(texts, most)
            if gain is not None:
                begin, self._begin = self._begin, gain.clock()
                self._guess_seconds += self._begin - begin
        for text, drafts in zip(texts, guesses, strict=True):
            text.drafts = drafts

    def learn(self, text: Text, proposed: int, right: int) -> None:
        """Of a text's guesses so many were right."""
        self._proposed += proposed
        self._accepted += right
        self._verified += 1
        self._proposer.learn(text, proposed, right)

    def end(self, works: Sequence[Work], tokens: int) -> None:
        """The pass is over.

        Args:
            works: what was computed.
            tokens: drawn.
        """
        if self._gain is None or any(work.count != 1 + work.num_drafts for work in works):
            return  # a pass that reads a prompt tells nothing of guesses
        self._gain.learn(
            texts=len(works),
            guessed=any(work.num_drafts for work in works),
            tokens=tokens,
            seconds=self._gain.clock() - self._begin,
            guess_seconds=self._guess_seconds,
        )
        self._guess_seconds = 0.0

    def forget(self, text: Text) -> None:
        """A text is over."""
        self._proposer.forget(text)

    def report(self) -> SpeculationReport:
        """What came of it so far."""
        gain = self._gain
        return SpeculationReport(
            proposed_tokens=self._proposed,
            accepted_tokens=self._accepted,
            acceptance_rate=self._accepted / self._proposed if self._proposed else None,
            verifications=self._verified,
            tokens_per_verification=1 + self._accepted / self._verified if self._verified else None,
            speedup=None if gain is None else gain.speedup,
            is_off=gain is not None and gain.is_off,
            times_off=0 if gain is None else gain.times_off,
        )
