"""What came of guesses at tokens, in figures. No torch: whoever prints it needs none."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SpeculationReport:
    """Of every text that an engine has written. Rates are None before there was anything to measure."""

    proposed_tokens: int
    """Guesses that went through the model."""
    accepted_tokens: int
    """Of them, those that were drawn."""
    acceptance_rate: float | None
    verifications: int
    """Passes with guesses, counted for each text that had some."""
    tokens_per_verification: float | None
    """Right guesses, and the token that is drawn behind them: 1 is what a pass gives without guesses."""
    speedup: float | None
    """Time that the passes would have taken without guesses over the time that they took, trials and the
    guessing itself included; as measured in the same run. None too where nobody measures."""
    is_off: bool
    """Whether guessing lost when it was tried last, and is off for now."""
    times_off: int
    """How often it turned itself off."""
