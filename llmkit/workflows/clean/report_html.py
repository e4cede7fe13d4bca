"""The report of `clean` as one page for a person: no script, no other file, readable on paper too."""

import difflib
import re
from typing import Any

from llmkit.formats.amount_text import format_bytes
from llmkit.workflows.clean.figures import share_text, value_text
from llmkit.workflows.clean.report import CleanReport
from llmkit.workflows.clean.tally import QUANTILES, SAMPLE_LETTERS, quantiles_of, value_of

_BARS = 32
_WIDTH, _HEIGHT = 160, 28
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def render_html(report: CleanReport, values: dict[str, dict[int, int]]) -> bytes:
    """The page.

    Args:
        report: what it says.
        values: histograms of the values of checks, by name: those of a `Tally`.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"size": format_bytes, "share": share_text, "number": value_text}
    picture = {row.rule: _picture(values.get(row.rule, {}), row.low, row.high) for row in report.rules}
    page = environment.from_string(_PAGE).render(
        report=report, picture=picture, bounds=_bounds, marked=_marked, width=_WIDTH, height=_HEIGHT
    )
    return page.encode()


def _picture(buckets: dict[int, int], low: float | None, high: float | None) -> dict[str, Any] | None:
    """A histogram's bars between its outer quantiles and bounds, and where the bounds stand."""
    spread = quantiles_of(buckets, (QUANTILES[0], QUANTILES[-1]))
    if not spread:
        return None
    width = spread["p99"] - spread["p01"]
    marks = [bound for bound in (low, high) if bound is not None]
    if width:  # a bound far off would press all bars into a corner
        marks = [mark for mark in marks if spread["p01"] - width <= mark <= spread["p99"] + width]
    first, last = min([spread["p01"], *marks]), max([spread["p99"], *marks])
    if last <= first:
        return None
    bars = [0] * _BARS
    for bucket, number in buckets.items():
        place = (value_of(bucket) - first) / (last - first)
        bars[min(_BARS - 1, max(0, int(place * _BARS)))] += number
    most = max(bars)
    step = _WIDTH / _BARS
    return {
        "bars": [
            (round(index * step, 1), round(step - 1, 1), round(max(1.0, (number / most) ** 0.5 * _HEIGHT), 1))
            for index, number in enumerate(bars)
            if number
        ],
        "marks": [round((bound - first) / (last - first) * _WIDTH, 1) for bound in marks],
        "first": value_text(first),
        "last": value_text(last),
    }


def _bounds(row: Any) -> str:
    low = "" if row.low is None else f"≥ {row.low:g}"
    high = "" if row.high is None else f"≤ {row.high:g}"
    return ", ".join(filter(None, (low, high)))


def _marked(before: str, after: str, side: str) -> list[tuple[bool, str]]:
    """One side of an edit as pieces, and whether each is only on that side."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    pieces = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        words = old[a:b] if side == "before" else new[c:d]
        if words:
            pieces.append((tag != "equal", "".join(words)))
    if pieces and max(len(before), len(after)) >= SAMPLE_LETTERS:
        pieces[-1] = (False, pieces[-1][1])  # where a sample was cut off nothing was changed
    return pieces


_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>llmkit clean</title>
<style>
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #e3e6ec; --paper: #fff; --kept: #2f855a; --gone: #c2410c;
  --wash: #f6f7f9; --ins: #d7f2e0; --del: #fde2d5 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b2; --line: #303743; --paper: #161a21;
  --kept: #5cc28d; --gone: #f08a5d; --wash: #1e242d; --ins: #1e4631; --del: #562c1a } }
* { box-sizing: border-box } body { margin: 2rem auto; max-width: 72rem; padding: 0 1.25rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums }
h1 { font-size: 1.4rem; margin: 0 0 .2rem } h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem }
p, .soft { color: var(--soft) } .cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.2rem 0 }
.card { background: var(--wash); border-radius: .5rem; padding: .7rem 1rem; min-width: 9.5rem; flex: 1 }
.card b { display: block; font-size: 1.45rem; line-height: 1.3 } .kept { color: var(--kept) }
.gone { color: var(--gone) } .bar { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden;
  background: var(--gone) } .bar i { background: var(--kept) }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 600; color: var(--soft);
  font-size: .8rem } th, td { padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top } .n { text-align: right; white-space: nowrap } td code { font-size: .85rem; overflow-wrap: anywhere }
.share { display: inline-block; height: .5rem; background: var(--gone); border-radius: .25rem; margin-right: .4rem;
  vertical-align: middle } svg { display: block; overflow: visible } svg rect { fill: var(--soft); opacity: .55 }
svg line { stroke: var(--gone); stroke-width: 1.5 } .axis { display: flex; justify-content: space-between;
  width: 160px; font-size: .7rem; color: var(--soft) }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .5rem .8rem }
summary { cursor: pointer } figure { margin: .8rem 0 } figcaption { font-size: .82rem; color: var(--soft);
  overflow-wrap: anywhere } pre { margin: .25rem 0 0; background: var(--wash); border-radius: .4rem;
  padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; font: .82rem/1.45 ui-monospace, monospace;
  max-height: 20rem; overflow: auto; unicode-bidi: plaintext } .two { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
@media (max-width: 45rem) { .two { grid-template-columns: 1fr } .wide { display: none } }
ins { background: var(--ins); text-decoration: none } del { background: var(--del); text-decoration: none }
.bar, .bar i, .share, ins, del { print-color-adjust: exact }
@media print { body { margin: 0; max-width: none; padding: 0 } pre { max-height: none; overflow: visible }
  tr, figcaption { break-inside: avoid } figcaption { break-after: avoid } }
</style></head><body><main>
<h1>llmkit clean</h1>
<p>{{ report.documents | number if report.documents < 1000 else "{:,}".format(report.documents) }} documents,
{{ report.bytes | size }}{% if report.mode == "tag" %}; nothing was dropped, documents were tagged{% endif %}
{% if report.unfinished %}; one shard only{% endif %}</p>
<div class="cards">
<div class="card"><span class="soft">kept</span><b class="kept">{{ "{:,}".format(report.kept_documents) }}</b>
{{ report.kept_documents | share(report.documents) }} of documents, {{ report.kept_bytes | share(report.bytes) }} of bytes</div>
<div class="card"><span class="soft">rejected</span><b class="gone">{{ "{:,}".format(report.rejected_documents) }}</b>
{{ report.rejected_documents | share(report.documents) }} of documents, {{ report.rejected_bytes | size }}</div>
<div class="card"><span class="soft">changed</span><b>{{ "{:,}".format(report.changed_documents) }}</b>
{{ report.changed_documents | share(report.kept_documents) }} of those kept</div>
<div class="card"><span class="soft">written</span><b>{{ report.written_bytes | size }}</b>
from {{ report.kept_bytes | size }} as they came</div>
{% if report.malformed_documents %}
<div class="card"><span class="soft">malformed</span><b>{{ "{:,}".format(report.malformed_documents) }}</b>
of those rejected</div>
{% endif %}
</div>
{% if report.documents %}
<div class="bar"><i style="width: {{ (100 * report.kept_documents / report.documents) | round(2) }}%"></i></div>
{% endif %}
{% if report.rules %}
<h2>Rules, in the order in which they look</h2>
<table><tr><th>rule</th><th class="wide">keeps</th><th class="n">came</th>
<th>{{ "would drop" if report.mode == "tag" else "dropped" }}</th><th class="n">bytes</th>
<th class="wide">values by √ of their number, and bounds</th></tr>
{% for row in report.rules %}
<tr><td><code>{{ row.rule }}</code><br><span class="soft">{{ row.meaning }}</span></td>
<td class="wide">{{ bounds(row) }}</td><td class="n">{{ "{:,}".format(row.documents) }}</td>
<td>{% if row.dropped_documents %}
<span class="share" style="width: {{ (5 * row.dropped_documents / row.documents) | round(2) }}rem"></span>
{{ "{:,}".format(row.dropped_documents) }} <span class="soft">{{ row.dropped_documents | share(row.documents) }}</span>
{% else %}<span class="soft">0</span>{% endif %}</td>
<td class="n">{% if row.dropped_bytes %}{{ row.dropped_bytes | size }}{% endif %}</td>
<td class="wide">{% if picture[row.rule] %}{% set p = picture[row.rule] %}
<svg width="{{ width }}" height="{{ height }}">
{% for x, w, h in p.bars %}<rect x="{{ x }}" y="{{ height - h }}" width="{{ w }}" height="{{ h }}"/>{% endfor %}
{% for x in p.marks %}<line x1="{{ x }}" x2="{{ x }}" y1="-2" y2="{{ height + 2 }}"/>{% endfor %}
</svg><div class="axis"><span>{{ p.first }}</span>
<span>median {{ row.values.p50 | number }}</span><span>{{ p.last }}</span></div>{% endif %}</td></tr>
{% endfor %}</table>
{% endif %}
{% for row in report.rules if row.samples %}
{% if loop.first %}<h2>{{ "Would be dropped" if report.mode == "tag" else "Dropped" }}: examples</h2>{% endif %}
<details{% if loop.index < 4 %} open{% endif %}><summary><code>{{ row.rule }}</code> {{ row.meaning }}
<span class="soft">{{ "{:,}".format(row.dropped_documents) }} documents</span></summary>
{% for one in row.samples %}
<figure><figcaption>{{ one.file }}{% if one.line %}:{{ one.line }}{% endif %} · {{ one.id }} ·
<b class="gone">{{ one.value | number }}</b>{% if one.threshold is not none %} against {{ one.threshold | number }}{% endif %}
</figcaption><pre tabindex="0">{{ one.before }}</pre></figure>
{% endfor %}</details>
{% endfor %}
{% for row in report.edits %}
{% if loop.first %}<h2>Changed: before and after</h2>{% endif %}
<details{% if loop.index < 6 and row.samples %} open{% endif %}><summary><code>{{ row.edit }}</code>
{{ "{:,}".format(row.edits) }} edits <span class="soft">in {{ "{:,}".format(row.documents) }} documents</span></summary>
{% for one in row.samples %}
<figure><figcaption>{{ one.file }}{% if one.line %}:{{ one.line }}{% endif %} · {{ one.id }}</figcaption>
<div class="two">
<pre tabindex="0">{% for only, piece in marked(one.before, one.after, "before") %}{% if only %}<del>{{ piece }}</del>{% else %}{{ piece }}{% endif %}{% endfor %}</pre>
<pre tabindex="0">{% for only, piece in marked(one.before, one.after, "after") %}{% if only %}<ins>{{ piece }}</ins>{% else %}{{ piece }}{% endif %}{% endfor %}</pre>
</div></figure>
{% endfor %}</details>
{% endfor %}
</main></body></html>
"""  # noqa: E501
