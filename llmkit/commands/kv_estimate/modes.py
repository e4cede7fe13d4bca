"""What `llmkit kv-estimate` answers: memory, speed and cost, the unknown, training, formulas, a chart.

Each imports what it needs when it is asked: the plain answer is to come in a quarter of a second.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from llmkit.commands.kv_estimate.flags import Speed, Training
from llmkit.commands.kv_estimate.text import estimates_text
from llmkit.commands.shared import fitted, print_lines
from llmkit.commands.terminal import text_width
from llmkit.errors import ConfigError
from llmkit.estimate.cache import cache_bytes
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.kv_estimate import (
    activation_bytes,
    cache_settings,
    check_fit,
    estimate,
    estimate_models,
)
from llmkit.workflows.kv_estimate.models import ModelSources, SizedModel, read_models
from llmkit.workflows.kv_estimate.report import KVEstimate

PLOT_POINTS = 64
PLOT_HEIGHT = 12


def print_answer(
    sources: ModelSources,
    settings: EstimateConfig,
    speed: Speed,
    training: Training | None,
    *,
    explain: bool,
    plot: bool,
    as_json: bool,
) -> None:
    """The answer to the one question that is asked; see `one_mode`."""
    if settings.solve is not None:
        print_solutions(sources, settings, as_json=as_json)
    elif training is not None:
        print_training(sources, settings, training, as_json=as_json)
    elif explain:
        print_explanations(sources, settings, as_json=as_json)
    elif plot:
        print_plots(sources, settings)
    elif speed.device is not None or speed.measure or speed.prices is not None:
        print_speeds(sources, settings, speed, as_json=as_json)
    else:
        print_estimates(sources, settings, as_json=as_json)


def print_estimates(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """Memory; then GateFailed where it does not fit."""
    estimates = estimate_models(sources, settings)
    _show(estimates, as_json, estimates_text)
    check_fit(estimates)  # after the report, which says how far off it is


def print_speeds(sources: ModelSources, settings: EstimateConfig, speed: Speed, *, as_json: bool) -> None:
    """Memory, speed and what is asked of cost, on a device; then GateFailed where it does not fit."""
    from llmkit.workflows.kv_estimate.device import (
        calibrated,
        choose_device,
        choose_price,
        priced_devices,
        this_machine,
    )
    from llmkit.workflows.kv_estimate.speed import SpeedRequest, estimate_speeds

    models = list(read_models(sources))  # before anything is measured
    mfu, mbu, source = speed.mfu, speed.mbu, "bound"
    if speed.calibrate is not None:
        measured = calibrated(speed.calibrate)
        mfu = measured[0] if mfu is None else mfu
        mbu, source = measured[1] if mbu is None else mbu, "calibrated"
    elif mfu is not None or mbu is not None:
        source = "given"
    priced: list[tuple[Any, float | None]]
    if speed.measure or speed.device is not None:
        device = this_machine() if speed.device is None else choose_device(speed.device, speed.devices)
        priced = [(device, choose_price(device, speed.price_per_hour, speed.prices))]
    else:
        assert speed.prices is not None  # or no speed was asked for
        priced = [*priced_devices(speed.prices, speed.devices)]
    asked: dict[str, Any] = {
        "prompt_tokens": speed.prompt,
        "mfu": _whole(mfu),
        "mbu": _whole(mbu),
        "efficiency_source": source,
        "utilisation": _whole(speed.utilisation),
        "users": speed.users,
        "concurrency": _whole(speed.concurrency),
        "tokens_per_second_per_user": speed.rate,
    }
    requests = [SpeedRequest(device=one, price_per_hour=price, **asked) for one, price in priced]
    estimates = estimate_speeds(models, settings, requests)
    _show(estimates, as_json, estimates_text)
    check_fit(estimates)


def print_solutions(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """The unknown; then GateFailed where nothing fits."""
    from llmkit.commands.kv_estimate.answers import solution_text
    from llmkit.workflows.kv_estimate.solve import check_solved, solve_models

    solutions = solve_models(sources, settings)
    _show(solutions, as_json, _each(solution_text))
    check_solved(solutions)


def print_training(
    sources: ModelSources,
    settings: EstimateConfig,
    training: Training,
    *,
    as_json: bool,
) -> None:
    """Memory of training; then GateFailed where it does not fit."""
    from llmkit.commands.kv_estimate.answers import training_text
    from llmkit.estimate.training_settings import QLORA_BITS
    from llmkit.workflows.kv_estimate.training import check_training_fits, estimate_training

    given = {name: value for name, value in vars(training).items() if value is not None}
    if given.pop("qlora"):
        given["frozen_bits"] = QLORA_BITS
    estimates = estimate_training(sources, settings, given)
    _show(estimates, as_json, _each(training_text))
    check_training_fits(estimates)


def print_explanations(sources: ModelSources, settings: EstimateConfig, *, as_json: bool) -> None:
    """Every formula with its numbers; then GateFailed where they come to more than the memory."""
    from llmkit.commands.kv_estimate.answers import explanation_text
    from llmkit.workflows.kv_estimate.explain import explain

    models = list(read_models(sources))
    estimates = [estimate(model, settings) for model in models]
    explanations = [explain(model, one, settings) for model, one in zip(models, estimates, strict=True)]
    _show(explanations, as_json, _each(explanation_text))
    check_fit(estimates)


def print_plots(sources: ModelSources, settings: EstimateConfig) -> None:
    """A chart for each model up to the context asked for; then GateFailed where that does not fit."""
    models = list(read_models(sources))
    estimates = [estimate(model, settings) for model in models]
    charts = [_plot(model, one, settings) for model, one in zip(models, estimates, strict=True)]
    print("\n\n".join(charts), flush=True)
    check_fit(estimates)


def _show(reports: Sequence[Any], as_json: bool, to_text: Callable[..., str]) -> None:
    """Reports as JSON lines, or all of them as one text of the terminal's width."""
    if as_json:
        print_lines(reports)
    else:
        print(fitted(to_text(reports, width=text_width())), flush=True)


def _each(to_text: Callable[..., str]) -> Callable[..., str]:
    """Texts of single reports, an empty line between two."""
    return lambda reports, width: "\n\n".join(to_text(one, width=width) for one in reports)


def _whole(part: float | None) -> float:
    return 1.0 if part is None else part


def _plot(model: SizedModel, one: KVEstimate, settings: EstimateConfig) -> str:
    """A chart up to the context of the estimate `one`; the weights are the same all along."""
    from llmkit.commands.kv_estimate.chart import memory_chart

    longest = one.context
    if longest < 2:
        raise ConfigError(f"nothing to draw up to {longest} token", hint="--context 8k")
    contexts = sorted({max(1, longest * step // PLOT_POINTS) for step in range(1, PLOT_POINTS + 1)})
    points = []
    for context in contexts:
        shared = min(settings.shared_prefix, context)
        cache = cache_settings(model, replace(settings, shared_prefix=shared))
        held = cache_bytes(model.architecture, cache, context=context, batch=one.batch).total
        activations = activation_bytes(model, settings, context) or 0
        points.append((context, held + (one.weights_bytes or 0) + activations))
    what = "weights and KV cache" if model.whole else "KV cache"
    if settings.prefill_chunk is not None:
        what = "weights, KV cache and activations"
    title = f"{model.name or model.architecture.model_type or 'KV cache'}: {what} against context"
    chart = memory_chart(points, width=text_width(), height=PLOT_HEIGHT, limit=settings.memory_bytes)
    return f"{title}\n\n{chart}"
