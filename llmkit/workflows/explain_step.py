"""llmkit generate --explain-step: how the next token of a prompt comes about."""

from dataclasses import dataclass
from typing import Any

from llmkit.engine.config import GenerateConfig
from llmkit.workflows.generate.adapter import load_adapters
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.rows import extent_of, read_prompt

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
            `place` and `Sampler.draw`.
    """
    job = open_job(files, config)
    row = read_prompt(job)

    import torch

    from llmkit.engine.adapter_torch import ModuleAdditions
    from llmkit.engine.explain import STEPS, explain
    from llmkit.engine.sampling import Sampler
    from llmkit.model.load import load_model
    from llmkit.workflows.generate.model import place

    placement = place(job, extent_of(job, [row]))
    torch.set_num_threads(placement.threads)
    model = load_model(
        files.model, dtype=placement.dtype, device=placement.device, rope_scaling=job.rope_scaling
    )
    request, sampling = row.request, row.request.sampling
    additions, used = ModuleAdditions(model), None
    for adapter in load_adapters(job.adapters, model, job.model):
        additions.add_adapter(adapter)
        used = adapter if adapter.name == request.adapter else used
    with torch.inference_mode(), additions.of([(used, len(request.prompt))]):
        hidden = model.hidden(torch.tensor([request.prompt], device=placement.device))
        logits = model.logits(hidden[0, -1:])[0].float().cpu()
    ends = request.ends(job.stop_ids)
    matcher = None if request.grammar is None else request.grammar.start(ends)
    sampler = Sampler(sampling, request.prompt, len(logits), matcher)
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
