"""A training run as text: how its loss went, drawn, and what is left of it on disk."""

import re
from typing import Any

from llmkit.commands.facts import Facts, facts_lines, indented, plural, title_line, visible
from llmkit.commands.plot import Series, draw_curves
from llmkit.commands.shared import align
from llmkit.commands.show.model_text import context_words, shape_words
from llmkit.commands.values import format_bytes, format_count, format_seconds
from llmkit.workflows.show.metrics import CurvePoint, MetricsSummary
from llmkit.workflows.show.run import RunReport

_SMALL = 24
"""Columns of the smallest plot that says something."""
_NORMS = {
    "gradient": "gradient",
    "weight": "weight",
    "update_ratio": "update/weight",
    "activation_rms": "output rms",
    "activation_max": "output max",
}
"""Figures of a layer, and the heads of their columns."""
_ESCAPE = re.compile("\x1b\\[[0-9]*m")


def run_text(report: RunReport, *, width: int, color: bool) -> str:
    """A run folder or a metrics file."""
    metrics, model = report.metrics, report.model
    lines = [title_line(report.path, report.kind, model.model_type if model else None)]
    facts: Facts = []
    if model is not None and model.weights is not None:
        size = f"{model.weights.parameters:,} parameters, {format_bytes(model.weights.size_bytes)}"
        shape = shape_words(model.shape)
        facts.append(("model", size + (f"; {shape}" if shape else "")))
        facts.append(("context", context_words(model.shape)))
    if metrics is not None:
        facts += _metrics_facts(metrics)
    if report.checkpoints:
        names = [f"{one.name} ({format_bytes(one.size_bytes)})" for one in report.checkpoints[-4:]]
        more = len(report.checkpoints) - len(names)
        facts.append(("checkpoints", [f"{more} older"] * bool(more) + names))
    facts.append(("incomplete", [problem.rpartition("/")[2] for problem in report.incomplete]))
    facts.append(("made by", report.made_by))
    lines += facts_lines(facts, width)
    if metrics is not None and (metrics.train or metrics.valid):
        train = Series("train loss", [(point.step, point.loss) for point in metrics.train])
        valid = Series("valid loss", [(point.step, point.loss) for point in metrics.valid], "o")
        lines += ["", *indented("\n".join(draw_curves([train, valid], width=width - 2, color=color)))]
    if metrics is not None and metrics.curves:
        lines += ["", *indented("\n".join(_small_plots(metrics.curves, width - 2, color)))]
    if metrics is not None and metrics.norms:
        lines += ["", f"  layers in step {metrics.norms_step:,}", _norms_table(metrics.norms)]
    return "\n".join(lines)


def _norms_table(norms: list[dict[str, Any]]) -> str:
    """What `--log-norms` tells of each layer in an update."""
    rows: list[tuple[str, ...]] = [("layer", *_NORMS.values())]
    for one in norms:
        figures = [one.get(key) for key in _NORMS]
        rows.append((visible(str(one.get("name"))), *("-" if x is None else f"{x:.4g}" for x in figures)))
    return align(rows, right=tuple(range(1, len(_NORMS) + 1)), indent=2)


def _small_plots(curves: dict[str, list[CurvePoint]], width: int, color: bool) -> list[str]:
    """The other curves side by side, or one below the other where that is too narrow."""
    across = len(curves) if width >= _SMALL * len(curves) else 1
    room = (width - 2 * (across - 1)) // across
    plots = [
        draw_curves(
            [Series(name.replace("_", " "), [(point.step, point.value) for point in points])],
            width=room,
            height=5,
            color=color,
        )
        for name, points in curves.items()
    ]
    if across == 1:
        return [line for plot in plots for line in ["", *plot]][1:]
    most = max(map(len, plots))
    padded = [[*plot, *[""] * (most - len(plot))] for plot in plots]
    return [
        "  ".join(line + " " * (room - _columns(line)) for line in row).rstrip()
        for row in zip(*padded, strict=True)
    ]


def _columns(line: str) -> int:
    """How wide a line is on a terminal."""
    return len(_ESCAPE.sub("", line))


def _metrics_facts(metrics: MetricsSummary) -> Facts:
    last, stop = metrics.last, metrics.stop
    loss = valid = None
    if metrics.first_loss is not None:
        loss = f"first {metrics.first_loss:.4f}, last {metrics.last_loss:.4f}, "
        loss += f"lowest {metrics.lowest_loss:.4f} at step {metrics.lowest_loss_step:,}"
    if metrics.lowest_valid_loss is not None:
        valid = f"lowest {metrics.lowest_valid_loss:.4f} at step {metrics.lowest_valid_loss_step:,}"
        if isinstance(bits := metrics.last_eval.get("bits_per_byte"), float):
            valid += f"; last {bits:.4f} bits per byte"
    tokens, seconds = last.get("tokens"), last.get("time_seconds")
    speed = metrics.tokens_per_second
    done = [f"{last.get('step', 0):,}"]
    done += [f"{format_count(tokens)} tokens"] if tokens else []
    done += [format_seconds(seconds)] if seconds else []
    done += [f"{format_count(speed)} tokens/s"] if speed else []
    back = [
        f"from the spike at step {one.spike_step:,} to step {one.step:,}"
        + (f", {plural(one.undone_steps, 'step')} undone" if one.undone_steps else "")
        for one in metrics.rewinds
    ]
    reason = stop.get("reason") or ("ended" if stop else None)
    return [
        ("steps", ", ".join(done)),
        ("train loss", loss),
        ("valid loss", valid),
        ("not finite", f"the loss of {plural(metrics.not_finite, 'step')}" if metrics.not_finite else None),
        ("went back", back),
        ("stopped", str(reason) if reason else "not yet, or killed"),
    ]
