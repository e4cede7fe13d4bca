"""One turn of the decode loop, made visible: the candidates for the next token before and after each step.

Shapes: V vocab_size.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmkit.engine.config import SAMPLERS, SamplingConfig
from llmkit.engine.sampling import Sampler
from llmkit.engine.shaping import Scores
from llmkit.engine.softmax import Softmax, best_of

STEPS = ("bias", "penalties", "dry", "grammar", *SAMPLERS, "adaptive_p", "mirostat")
"""In the order in which they apply; of the last two there is one at most."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that can still be drawn."""

    id: int
    score: float
    probability: float


@dataclass(frozen=True)
class Stage:
    """What can be drawn after one step; before it, what the stage ahead of it says."""

    step: str
    """model: nothing has been done to the model's scores; else one of STEPS."""
    setting: Any
    """What the step was asked to do."""
    left: int
    """Tokens that can be drawn."""
    entropy_bits: float
    candidates: tuple[Candidate, ...]
    """Of the tokens shown those that are left, best first. The same tokens are shown at every stage."""


@dataclass(frozen=True)
class Explanation:
    """The stages in their order, and the token that is drawn after the last."""

    stages: tuple[Stage, ...]
    token: int


def explain(logits: Scores, sampler: Sampler, config: SamplingConfig, count: int) -> Explanation:
    """Draw one token, and tell how.

    Args:
        logits: (V,) as the model scored them.
        sampler: draws; the token counts as drawn.
        config: the sampler's settings.
        count: tokens to show: so many of the best to the model, so many of those that remain, and the one
            that is drawn.

    Raises:
        DataError: see `Sampler.draw`.
    """
    scores = {"model": logits, **dict(sampler.steps(logits))}
    token = sampler.draw(logits)
    last = list(scores.values())[-1]
    shown = sorted({*best_of(logits, count), *best_of(last, count), token})
    stages = [
        _stage(step, None if step == "model" else _setting(step, config), now, shown)
        for step, now in scores.items()
    ]
    return Explanation(tuple(stages), token)


def _stage(step: str, setting: Any, logits: Scores, shown: list[int]) -> Stage:
    softmax = Softmax(logits)
    probabilities = softmax.probabilities
    candidates = [
        Candidate(token, float(logits[token]), float(probabilities[token]))
        for token in shown
        if logits[token] > -math.inf
    ]
    return Stage(
        step=step,
        setting=setting,
        left=int(np.count_nonzero(logits > -math.inf)),
        entropy_bits=softmax.entropy_bits,
        candidates=tuple(sorted(candidates, key=lambda one: (-one.score, one.id))),
    )


def _setting(step: str, config: SamplingConfig) -> Any:
    match step:
        case "bias":
            return dict(config.logit_bias)
        case "penalties":
            names = ("repetition_penalty", "presence_penalty", "frequency_penalty")
            told = {name.removesuffix("_penalty"): getattr(config, name) for name in names}
            return told | {"last_n": config.repeat_last_n}
        case "dry":
            fields = ("multiplier", "base", "allowed_length", "penalty_last_n", "sequence_breakers")
            return {name: getattr(config, f"dry_{name}") for name in fields}
        case "adaptive_p":
            return {"target": config.adaptive_target, "decay": config.adaptive_decay}
        case "mirostat":
            return {
                "version": config.mirostat,
                "tau": config.mirostat_tau,
                "eta": config.mirostat_eta,
            }
        case "grammar":
            assert config.rule is not None
            return config.rule[0]
        case _:
            return getattr(config, step)
