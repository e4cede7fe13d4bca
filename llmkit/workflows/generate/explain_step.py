"""llmkit generate --explain-step: how the next token of a prompt comes about."""

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.engine.config import GenerateConfig
from llmkit.workflows.generate.extent import extent_of
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.rows import read_prompt

if TYPE_CHECKING:
    from llmkit.engine.engine import Engine
    from llmkit.engine.request import Request
    from llmkit.engine.shaping import Scores

SHOWN = 10
"""Candidates at least."""


@dataclass(frozen=True)
class ShownCandidate:
    """A token that can still be drawn; its text has U+FFFD for a part of a character."""

    id: int
    text: str | None
    score: float
    probability: float


@dataclass(frozen=True)
class ShownStage:
    """What can be drawn after a step."""

    step: str
    setting: Any
    left: int
    entropy_bits: float
    candidates: tuple[ShownCandidate, ...]


@dataclass(frozen=True)
class StepReport:
    """One turn of the decode loop. Steps that are off are not among the stages."""

    model: str
    prompt_tokens: int
    stages: tuple[ShownStage, ...]
    off: tuple[str, ...]
    seed: int
    is_greedy: bool
    drawn_id: int
    drawn_text: str | None
    ends_text: bool
    """Whether it is a token that ends texts."""
    schema: str = "llmkit.explain-step/1"


def explain_step(files: GenerateFiles, config: GenerateConfig) -> StepReport:
    """Draw the next token of the one prompt, and tell how.

    Raises:
        UsageError, ConfigError, DataError, MissingError, ResourceError: see `open_job`, `read_prompt`,
            `place`, `start_engine` and `Sampler.draw`.
    """
    job = replace(open_job(files, config), drafts=None)  # nothing is guessed before the first token
    row = read_prompt(job)

    # these take a moment to import: what is wrong with the prompt has been said by now
    from llmkit.engine.explain import STEPS, explain
    from llmkit.engine.sampling import sampler_of
    from llmkit.workflows.generate.model import place, start_engine

    request, sampling = row.request, row.request.sampling
    engine = start_engine(job, place(job, extent_of(job, [row])))
    with closing(engine.lead):
        logits = _scores(engine, request)
    ends = request.ends(job.stop_ids)
    sampler = sampler_of(request, len(logits), ends)
    told = explain(logits, sampler, sampling, SHOWN)

    def spell(token: int) -> str | None:
        return None if job.tokenizer is None else job.tokenizer.token_bytes(token).decode(errors="replace")

    stages = [
        ShownStage(
            step=stage.step,
            setting=stage.setting,
            left=stage.left,
            entropy_bits=stage.entropy_bits,
            candidates=tuple(
                ShownCandidate(one.id, spell(one.id), one.score, one.probability) for one in stage.candidates
            ),
        )
        for stage in told.stages
    ]
    return StepReport(
        model=str(files.model),
        prompt_tokens=len(request.prompt),
        stages=tuple(stages),
        off=tuple(step for step in STEPS if step not in {stage.step for stage in stages}),
        seed=sampling.seed,
        is_greedy=sampling.is_greedy,
        drawn_id=told.token,
        drawn_text=spell(told.token),
        ends_text=told.token in ends,
    )


def _scores(engine: "Engine", request: "Request") -> "Scores":
    """The model's own scores (V,) of the first token after a prompt."""
    heard: list[Scores] = []
    engine.on_rows = lambda _, rows: heard.append(rows[-1])
    next(engine.run(request))
    return heard[0]
