"""What `llmkit kv-estimate` answers: memory, speed and cost, the unknown, training, formulas, a chart.

Each imports what it needs when it is asked: the plain answer is to come in a quarter of a second.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmkit.commands.kv_estimate_text import estimates_text
from llmkit.commands.shared import print_lines
from llmkit.commands.terminal import text_width
from llmkit.errors import ConfigError
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate import check_fit, context_of, estimate, estimate_models
from llmkit.workflows.kv_estimate_models import ModelSources, SizedModel, read_models

PLOT_POINTS = 64
PLOT_HEIGHT = 12


def print_estimates(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """Memory; then GateFailed where it does not fit."""
    estimates = estimate_models(sources, settings)
    if as_json:
        print_lines(estimates)
    else:
        print(estimates_text(estimates, width=text_width()), flush=True)
    check_fit(estimates)  # after the report, which says how far off it is


def print_speeds(
    sources: ModelSources, settings: EstimateConfig, flags: Mapping[str, Any], *, as_json: bool
) -> None:
    """Memory, speed and what is asked of cost, on a device; then GateFailed where it does not fit."""
    from llmkit.workflows.kv_estimate_speed import (
        SpeedRequest,
        calibrated,
        choose_device,
        choose_price,
        estimate_speeds,
        this_machine,
    )

    models = list(read_models(sources))  # before anything is measured
    mfu, mbu, source = flags["mfu"], flags["mbu"], "bound"
    if flags["calibrate"] is not None:
        measured = calibrated(flags["calibrate"])
        mfu = measured[0] if mfu is None else mfu
        mbu, source = measured[1] if mbu is None else mbu, "calibrated"
    elif mfu is not None or mbu is not None:
        source = "given"
    device = this_machine() if flags["measure"] else choose_device(flags["device"], flags["devices"])
    request = SpeedRequest(
        device=device,
        prompt_tokens=flags["prompt"],
        mfu=_whole(mfu),
        mbu=_whole(mbu),
        efficiency_source=source,  # type: ignore[arg-type]
        price_per_hour=choose_price(device, flags["price_per_hour"], flags["prices"]),
        utilisation=_whole(flags["utilisation"]),
        users=flags["users"],
        concurrency=_whole(flags["concurrency"]),
        tokens_per_second_per_user=flags["rate"],
    )
    estimates = estimate_speeds(models, settings, request)
    if as_json:
        print_lines(estimates)
    else:
        print(estimates_text(estimates, width=text_width()), flush=True)
    check_fit(estimates)


def print_solutions(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """The unknown; then GateFailed where nothing fits."""
    from llmkit.commands.kv_estimate_answers import solution_text
    from llmkit.workflows.kv_estimate_solve import check_solved, solve_models

    solutions = solve_models(sources, settings)
    if as_json:
        print_lines(solutions)
    else:
        print("\n\n".join(solution_text(one, width=text_width()) for one in solutions), flush=True)
    check_solved(solutions)


def print_training(
    sources: ModelSources,
    settings: EstimateConfig,
    training: Mapping[str, Any],
    *,
    qlora: bool,
    as_json: bool,
) -> None:
    """Memory of training; then GateFailed where it does not fit."""
    from llmkit.commands.kv_estimate_answers import training_text
    from llmkit.estimate.training_settings import QLORA_BITS
    from llmkit.workflows.kv_estimate_training import check_training_fits, estimate_training

    frozen = {"frozen_bits": QLORA_BITS} if qlora else {}
    estimates = estimate_training(sources, settings, {**training, **frozen})
    if as_json:
        print_lines(estimates)
    else:
        print("\n\n".join(training_text(one, width=text_width()) for one in estimates), flush=True)
    check_training_fits(estimates)


def print_explanations(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """Every formula with its numbers; then GateFailed where they come to more than the memory."""
    from llmkit.commands.kv_estimate_answers import explanation_text
    from llmkit.workflows.kv_estimate_explain import explain

    models = list(read_models(sources))
    explanations = [explain(model, settings) for model in models]
    if as_json:
        print_lines(explanations)
    else:
        print("\n\n".join(explanation_text(one, width=text_width()) for one in explanations), flush=True)
    if settings.memory_bytes is not None:
        check_fit([estimate(model, settings) for model in models])


def print_plots(sources: ModelSources, settings: EstimateConfig) -> None:
    """A chart for each model up to the context asked for; then GateFailed where that does not fit."""
    charts, longest = [], []
    for model in read_models(sources):
        charts.append(_plot(model, settings))
        longest.append(estimate(model, settings))
    print("\n\n".join(charts), flush=True)
    check_fit(longest)


def _whole(part: float | None) -> float:
    return 1.0 if part is None else part


def _plot(model: SizedModel, settings: EstimateConfig) -> str:
    from llmkit.estimate.chart import memory_chart

    longest = context_of(model, settings)
    if longest < 2:
        raise ConfigError(f"nothing to draw up to {longest} token", hint="--context 8k")
    contexts = sorted({max(1, longest * step // PLOT_POINTS) for step in range(1, PLOT_POINTS + 1)})
    points = []
    for context in contexts:
        shared = min(settings.shared_prefix, context)
        one = estimate(model, replace(settings, context=context, shared_prefix=shared))
        points.append((context, one.total_bytes if one.total_bytes is not None else one.kv_bytes))
    what = "weights and KV cache" if model.whole else "KV cache"
    if settings.prefill_chunk is not None:
        what = "weights, KV cache and activations"
    title = f"{model.name or model.architecture.model_type or 'KV cache'}: {what} against context"
    chart = memory_chart(points, width=text_width(), height=PLOT_HEIGHT, limit=settings.memory_bytes)
    return f"{title}\n\n{chart}"
