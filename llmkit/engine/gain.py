"""Whether guesses at tokens pay, measured while texts are written: what a pass gives with them and without.

Guesses that lose are turned off, and tried again after some passes, each time after twice as many. A batch of
another size is another case: where one text waits for memory, guesses are nearly free; sixteen fill the
machine without them. What is written does not depend on any of this.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_KEEP = 0.95
"""Of older measurements' weight, with each new one."""
_CHECK = 64
"""Passes with guesses after which a few without them are measured anew: texts grow, and machines get busy."""
_PATIENCE = 32
_MOST_PATIENCE = 4096
"""Passes without guesses after they lost, the first time and at most."""


@dataclass
class _Way:
    """Passes of one kind, the latest weighing most."""

    passes: int = 0
    progress: float = 0.0
    seconds: float = 0.0

    def add(self, progress: float, seconds: float) -> None:
        self.passes += 1
        self.progress = _KEEP * self.progress + progress
        self.seconds = _KEEP * self.seconds + seconds

    @property
    def rate(self) -> float:
        """Tokens of each text in a second."""
        return self.progress / max(self.seconds, 1e-12)


@dataclass
class _Case:
    """Batches of about one size."""

    trial: int
    plain: _Way = field(default_factory=_Way)
    guessed: _Way = field(default_factory=_Way)
    guessing: bool = False
    left: int = 0
    """Passes of the present kind until the other is looked at."""
    patience: int = _PATIENCE
    lost: bool = False

    def __post_init__(self) -> None:
        self.left = self.trial

    def learn(self, guessed: bool, progress: float, seconds: float) -> bool:
        """A pass is over; whether guesses are turned off with it."""
        (self.guessed if guessed else self.plain).add(progress, seconds)
        if guessed != self.guessing:
            return False  # nothing to guess: no news of guesses
        self.left -= 1
        if not guessed:
            if not self.left:
                self.guessing, self.left, self.guessed = True, _CHECK, _Way()
        elif self._is_known():
            self.lost = self.guessed.rate < self.plain.rate
            if self.lost:
                self.guessing, self.left = False, self.patience
                self.patience = min(2 * self.patience, _MOST_PATIENCE)
                return True
            if not self.left:
                self.guessing, self.left, self.plain = False, self.trial, _Way()
                self.patience = _PATIENCE
        return False

    def _is_known(self) -> bool:
        """Whether enough passes were guessed to believe their rate: half as many where it is below half."""
        needed = self.trial / 2 if self.guessed.rate < self.plain.rate / 2 else self.trial
        return self.guessed.passes >= needed


class Gain:
    """Decides, pass by pass, whether to guess."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, trial: int = 6) -> None:
        """
        Args:
            clock: seconds, of any beginning.
            trial: passes of each kind before either is believed; half as many where guesses are far slower.
        """
        self.clock = clock
        self.times_off = 0
        """How often guesses were turned off."""
        self.is_off = False
        """Whether they are, in batches of the size that there was last."""
        self._trial = trial
        self._cases: dict[int, _Case] = {}
        self._seconds = 0.0
        self._plain_seconds = 0.0
        self._owed = 0.0
        """Seconds of guessing that no pass has verified yet."""

    @property
    def speedup(self) -> float | None:
        """Time that all passes would have taken without guesses over the time that they took."""
        return self._plain_seconds / self._seconds if self._seconds else None

    def wants_guesses(self, texts: int) -> bool:
        """Whether to guess in the next pass, which is of so many texts."""
        return self._case(texts).guessing

    def learn(
        self, *, texts: int, guessed: bool, tokens: int, seconds: float, guess_seconds: float = 0.0
    ) -> None:
        """A pass is over in which each text was to get its next token, or several.

        Args:
            texts: in it.
            guessed: whether guesses were verified.
            tokens: drawn, of all texts together.
            seconds: taken by the pass.
            guess_seconds: taken by guessing before it, whether or not something came of it.
        """
        case, progress = self._case(texts), tokens / texts
        self._seconds += seconds + guess_seconds
        self._plain_seconds += progress / case.plain.rate if guessed and case.plain.passes else seconds
        self._owed += guess_seconds
        if guessed:  # a pass without guesses costs what it costs, however long they were looked for
            seconds, self._owed = seconds + self._owed, 0.0
        self.times_off += case.learn(guessed, progress, seconds)
        self.is_off = case.lost

    def _case(self, texts: int) -> _Case:
        return self._cases.setdefault(texts.bit_length(), _Case(self._trial))
