"""What a pretraining run will do and take, worked out before any of it: the recipe, memory, disk and time."""

from pathlib import Path

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.budget import kept_checkpoints
from llmkit.train.config import PretrainConfig
from llmkit.train.hardware import measure_peak, threads_set
from llmkit.train.parallel.divided import divide_model
from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.trainer import Trainer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.pretrain.process_memory import checkpoint_file_bytes, run_memory
from llmkit.workflows.run.evaluations import plan_evaluations
from llmkit.workflows.run.plan import (
    Needs,
    RunPlan,
    build_plan,
    check_needs,
    peak_of_all,
    sent_in_update,
    time_step,
)
from llmkit.workflows.run.setup import Setup


class PretrainPlan(RunPlan, frozen=True, kw_only=True):
    """The report of `--dry-run`."""

    schema: str = "llmkit.pretrain-plan/1"
    batch_tokens: int
    total_tokens: int
    optimizer: str
    flops_per_token: float
    total_flops: float
    peak_flops_per_second: float
    peak_source: str
    tokens_per_second: float
    """At the pace of `step_seconds`, padding counted."""


def plan_run(
    setup: Setup,
    config: PretrainConfig,
    model: ModelConfig,
    data: PretrainData,
    out: Path,
    *,
    valid: PretrainData | None = None,
    calibrate: bool = False,
    ranks: Ranks = ALONE,
    processes_here: int = 1,
) -> PretrainPlan:
    """Everything a person wants to know before a run; measures updates where that is quick, or asked for.

    Args:
        setup: of the run.
        config: as asked for.
        model: its shape.
        data: to measure on.
        out: of the run.
        valid: what it is scored on.
        calibrate: measure, however long it takes.
        ranks: the processes of the run, where it is measured in all of them: each has to call this. One alone
            measures no run of several.
        processes_here: that will share this machine.
    """
    recipe = setup.recipe
    with threads_set(setup.threads):
        peak = measure_peak(setup.device, recipe.dtype)
        step = time_step(
            setup,
            peak_of_all(setup, peak, processes_here),
            lambda: _fresh_trainer(setup, config, model, data, ranks),
            calibrate=calibrate,
            saves=config.recomputes,
            ranks=ranks,
        )
    passes = 4 if config.activation_checkpointing == "full" else 3  # where layers run again: one more
    evaluations = plan_evaluations(
        setup,
        0 if valid is None else len(valid.rows),
        config.eval_rows,
        step_seconds=step[0],
        share=1 / passes,
    )
    return build_plan(
        PretrainPlan,
        setup,
        model,
        out,
        _needs(setup, config, model),
        step=step,
        sent=sent_in_update(setup, config, model),
        processes_here=processes_here,
        batch_tokens=recipe.batch_tokens,
        total_tokens=recipe.tokens,
        optimizer=recipe.optimizer,
        flops_per_token=setup.flops_per_token,
        total_flops=setup.flops_per_token * recipe.tokens,
        peak_flops_per_second=peak.flops_per_second,
        peak_source=peak.source,
        tokens_per_second=recipe.batch_tokens / step[0],
        evaluations=evaluations,
    )


def check_resources(
    setup: Setup, config: PretrainConfig, model: ModelConfig, out: Path, *, processes_here: int = 1
) -> None:
    """Refuse a run that cannot end well.

    Raises:
        ResourceError: too little memory for the processes here, or too little disk for the checkpoints.
    """
    needs = _needs(setup, config, model)
    check_needs(setup, needs, out, "shorter rows, or a smaller --preset", processes_here=processes_here)


def _needs(setup: Setup, config: PretrainConfig, model: ModelConfig) -> Needs:
    return Needs(
        run_memory(setup, config, model),
        checkpoint_file_bytes(setup, model),
        kept_checkpoints(config, setup.recipe.steps),
    )


def _fresh_trainer(
    setup: Setup, config: PretrainConfig, model: ModelConfig, data: PretrainData, ranks: Ranks
) -> Trainer:
    fresh = Transformer(model)
    initialise(fresh, torch.Generator().manual_seed(0))
    if not ranks.degrees.is_split:
        fresh.to(setup.device)
    divided = divide_model(fresh, config, setup.recipe, ranks)
    divided.model.to(setup.device)
    return Trainer(
        divided,
        data.rows,
        setup.recipe,
        micro_batch_rows=setup.micro_batch_rows,
        on_nonfinite="skip",
    )
