"""Training runs as one page for a person: no script, no other file, light or dark as the reader has it.

A plot is an SVG that stretches with the page; its lines keep their width, and its labels are text of the
page, which stays readable on a narrow screen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.formats.amount_text import format_count, round_step
from llmkit.formats.atomic import refuse_existing, write_atomic
from llmkit.formats.json_text import printable
from llmkit.workflows.show.runs import RunRow, RunsReport, setting_words

WIDTH, HEIGHT = 600, 240
_TICKS = 5
_COLORS = 8
_PLOTS: tuple[tuple[str, str], ...] = (
    ("loss", "Training loss"),
    ("valid", "Validation loss"),
    ("lr", "Learning rate"),
    ("grad_norm", "Gradient norm"),
    ("tokens_per_second", "Tokens a second"),
)


@dataclass(frozen=True)
class Line:
    """A run in a plot."""

    color: int
    points: str
    """Of a polyline, in units of the picture."""
    dots: list[tuple[float, float]]
    """Where there are few points, each of them."""


@dataclass(frozen=True)
class Plot:
    """A figure of all runs, by step."""

    title: str
    lines: list[Line]
    ticks: list[tuple[float, str]]
    """From the top in hundredths of the height, and a label."""
    left: str
    right: str


def write_runs(path: Path, report: RunsReport, names: Sequence[str], *, force: bool) -> None:
    """The page as a file.

    Raises:
        UsageError: it is there already, and is not to be replaced, or is a file of a run, but no page.
    """
    refuse_existing(path, force=force, inputs=[Path(one.path) for one in report.runs], is_file=True)
    write_atomic(path, render_runs(report, names))


def render_runs(report: RunsReport, names: Sequence[str]) -> bytes:
    """The page.

    Args:
        report: what is compared; one run is a comparison too.
        names: of the runs, short.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": _figure, "count": _count, "loss": _loss}
    plots = [
        plot for key, title in _PLOTS if (plot := _plot(title, [_points(one, key) for one in report.runs]))
    ]
    best = next((place for place, one in enumerate(report.runs) if one.path == report.best), None)
    page = environment.from_string(_PAGE).render(
        report=report,
        runs=list(zip(names, report.runs, strict=True)),
        plots=plots,
        best=best,
        colors=_COLORS,
        width=WIDTH,
        height=HEIGHT,
    )
    return printable(page).encode()


def _points(run: RunRow, key: str) -> list[tuple[float, float]]:
    if key in ("loss", "valid"):
        found = [(one.step, one.loss) for one in (run.train if key == "loss" else run.valid)]
    else:
        found = [(one.step, one.value) for one in run.curves.get(key, [])]
    return [(x, y) for x, y in found if math.isfinite(y)]


def _plot(title: str, runs: list[list[tuple[float, float]]]) -> Plot | None:
    """One figure of all runs, or None where none has it."""
    every = [point for points in runs for point in points]
    if not every:
        return None
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    ticks, bottom, top = nice_ticks(min(y for _, y in every), max(y for _, y in every))
    across = WIDTH / ((right - left) or 1.0)
    up = HEIGHT / (top - bottom)
    lines = []
    for color, points in enumerate(runs):
        places = [(round((x - left) * across, 1), round((top - y) * up, 1)) for x, y in points]
        path = " ".join(f"{x:g},{y:g}" for x, y in places)
        lines.append(Line(color % _COLORS, path, places if len(places) <= 30 else []))
    labels = _labels(ticks)
    shown = [(round((top - tick) / (top - bottom) * 100, 2), label) for tick, label in labels]
    return Plot(title, [one for one in lines if one.points], shown, f"{left:,.0f}", f"{right:,.0f}")


def nice_ticks(low: float, high: float) -> tuple[list[float], float, float]:
    """Round numbers that hold `low` and `high` between them, the first and the last of these."""
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    step = round_step((high - low) / _TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)], first * step, last * step


def _labels(ticks: list[float]) -> list[tuple[float, str]]:
    """With as many digits as tell them apart."""
    forms: list[Callable[[float], str]] = [lambda tick, d=digits: f"{tick:.{d}g}" for digits in range(2, 8)]  # type: ignore[misc]
    if max(map(abs, ticks)) >= 1000:
        forms.insert(0, _count)
    for form in forms:
        labels = [form(tick) for tick in ticks]
        if len(set(labels)) == len(ticks):
            break
    return list(zip(ticks, labels, strict=True))


def _count(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 100 else format_count(value)  # slow runs have parts of tokens


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _figure(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = setting_words(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>llmkit show: \
{{ runs[0][0] if runs|length == 1 else "training runs" }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6778; --line: #dfe3ea; --paper: #fff;
  --wash: #f6f7f9; --c0: #1f6fd0; --c1: #c4540b; --c2: #1c8a4f; --c3: #9b3fbf; --c4: #b3841a; --c5: #c0306a;
  --c6: #14808f; --c7: #6b6f78 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b2; --line: #303743;
  --paper: #14171d; --wash: #1d222b; --c0: #6aa9f7; --c1: #f39a5b; --c2: #5fcf93; --c3: #d18bf0;
  --c4: #e6c05c; --c5: #f283af;
  --c6: #5fc9d8; --c7: #aeb4bf } }
* { box-sizing: border-box }
body { margin: 1.5rem auto 3rem; max-width: 74rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; overflow-wrap: anywhere } h2 { font-size: 1rem; margin: 0 0 .5rem }
p { margin: .2rem 0; color: var(--soft) } section { margin-top: 1.8rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
th { color: var(--soft); font-weight: 500 } th:first-child, td:first-child { text-align: left }
.best td:first-child { font-weight: 600 }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .45rem;
  vertical-align: -.08rem; print-color-adjust: exact }
{% for number in range(colors) %}
.k{{ number }} { background: var(--c{{ number }}) } .l{{ number }} { stroke: var(--c{{ number }}) }
{% endfor %}
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.8rem }
figure { margin: 0; min-width: 0 } figcaption { font-weight: 600; margin-bottom: .3rem }
.plot { display: grid; grid-template-columns: 3.6rem minmax(0, 1fr); font-size: .75rem; color: var(--soft) }
.ticks { position: relative; height: 14rem } .ticks span { position: absolute; right: .5rem;
  transform: translateY(-50%) }
.frame { height: 14rem; background: var(--wash); border-left: 1px solid var(--line) }
svg { display: block; width: 100%; height: 100%; overflow: visible }
svg .grid { stroke: var(--line) } svg polyline { fill: none; stroke-width: 1.75; stroke-linejoin: round }
svg line, svg polyline { vector-effect: non-scaling-stroke }
.dots { stroke-width: 6; stroke-linecap: round; vector-effect: non-scaling-stroke }
.ends { grid-column: 2; display: flex; justify-content: space-between; padding-top: .2rem }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .8rem 0 0; padding: 0; list-style: none;
  overflow-wrap: anywhere }
@media print { body { margin: 0; max-width: none; padding: 0 } .scroll { overflow: visible }
  table { font-size: .7rem } th, td { white-space: normal; overflow-wrap: anywhere; padding-right: .4rem }
  figure, tr { break-inside: avoid } }
</style></head><body><main>
<h1>{% if runs|length == 1 %}{{ runs[0][0] }}{% else %}{{ runs|length }} training runs{% endif %}</h1>
{% if best is not none and runs|length > 1 %}
<p>Lowest {{ "validation" if report.judged_by == "valid_loss" else "training" }} loss: {{ runs[best][0] }}</p>
{% endif %}
<section class="scroll" tabindex="0"><table>
<thead><tr><th>Run</th><th>Steps</th><th>Tokens</th><th>Seconds</th><th>Tokens/s</th><th>Memory, MiB</th>
<th>Loss</th><th>Lowest loss</th><th>Validation</th><th>Lowest validation</th>
<th>Bits/byte</th><th>Ended</th></tr></thead>
<tbody>
{% for name, run in runs %}
<tr{% if loop.index0 == best %} class="best"{% endif %}>
<td><span class="key k{{ loop.index0 % colors }}"></span>\
{{ name }}</td><td>{{ "{:,}".format(run.steps) }}</td><td>{{ run.tokens|count }}</td>
<td>{{ run.seconds|figure }}</td><td>{{ run.tokens_per_second|count }}</td>
<td>{{ "–" if run.memory_bytes is none else "{:,.0f}".format(run.memory_bytes / 1048576) }}</td>
<td>{{ run.last_loss|loss }}</td><td>{{ run.lowest_loss|loss }}</td><td>{{ run.last_valid_loss|loss }}</td>
<td>{{ run.lowest_valid_loss|loss }}</td><td>{{ run.bits_per_byte|loss }}</td>
<td>{{ run.stopped or "not yet, or killed" }}</td></tr>
{% endfor %}
</tbody></table></section>
<section class="plots">
{% for plot in plots %}
<figure><figcaption>{{ plot.title }}</figcaption><div class="plot"><div class="ticks">
{% for place, label in plot.ticks %}<span style="top: {{ place }}%">{{ label }}</span>{% endfor %}</div>
<div class="frame"><svg viewBox="0 0 {{ width }} {{ height }}" preserveAspectRatio="none" role="img" \
aria-label="{{ plot.title }}">
{% for place, label in plot.ticks %}
<line class="grid" x1="0" x2="{{ width }}" y1="{{ place * height / 100 }}" y2="{{ place * height / 100 }}"/>
{% endfor %}
{% for line in plot.lines %}
<polyline class="l{{ line.color }}" points="{{ line.points }}"/>
{% for x, y in line.dots %}<line class="dots l{{ line.color }}" x1="{{ x }}" x2="{{ x }}" y1="{{ y }}" \
y2="{{ y }}"/>{% endfor %}
{% endfor %}
</svg></div><div class="ends"><span>step {{ plot.left }}</span><span>{{ plot.right }}</span>
</div></div></figure>
{% endfor %}
</section>
{% if runs|length > 1 %}
<ul class="legend">{% for name, run in runs %}
<li><span class="key k{{ loop.index0 % colors }}"></span>{{ name }}\
</li>{% endfor %}</ul>
{% endif %}
{% for name, run in runs if run.norms %}
<section class="scroll" tabindex="0"><h2>Layers in step {{ "{:,}".format(run.norms_step) }}\
{% if runs|length > 1 %} of {{ name }}{% endif %}</h2><table>
<thead><tr><th>Layer</th><th>Gradient norm</th><th>Weight norm</th><th>Update / weight</th><th>Output RMS</th>
<th>Largest output</th></tr></thead><tbody>
{% for one in run.norms %}
<tr><td>{{ one.name }}</td><td>{{ one.gradient|figure }}</td><td>{{ one.weight|figure }}</td>
<td>{{ one.update_ratio|figure }}</td><td>{{ one.activation_rms|figure }}</td>
<td>{{ one.activation_max|figure }}</td></tr>
{% endfor %}
</tbody></table></section>
{% endfor %}
{% if runs|length > 1 %}
<section class="scroll" tabindex="0"><h2>Settings that differ</h2>
{% if report.differing %}
<table><thead><tr><th>Setting</th>{% for name, run in runs %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for setting in report.differing %}
<tr><td>{{ setting }}</td>{% for name, run in runs %}
<td>{{ run.settings[setting]|figure }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
{% else %}<p>None that is known.</p>{% endif %}
</section>
{% endif %}
</main></body></html>
"""
