"""What the page of `--html` is given: maps in bytes, figures in words, tables."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from llmkit.formats.amount_text import plural
from llmkit.probe.attention.region import RegionMap
from llmkit.workflows.inspect_attention.colors import UNSEEN, color_of, shades
from llmkit.workflows.inspect_attention.page import PAGE
from llmkit.workflows.inspect_attention.report import HeadRow, InspectReport

_CELLS = 256
"""Most rows and columns of a head's map."""
_WHOLE_BYTES = 16_000_000
"""Of all maps together, about."""


def page_cells(heads: int) -> int:
    """Most rows and columns of each map on a page of so many heads."""
    return max(16, min(_CELLS, math.isqrt(_WHOLE_BYTES // heads)))


def html_page(report: InspectReport, maps: Sequence[RegionMap]) -> str:
    """The whole page.

    Args:
        report: with the figures of the heads.
        maps: of the same heads, over the whole text, in the same order.
    """
    assert report.heads is not None
    first = max(range(len(maps)), key=lambda at: (len(_row(report, at).classes), _row(report, at).max_weight))
    data = {
        "title": f"{report.model}: attention",
        "facts": _facts(report, maps),
        "tokens": [one.text for one in report.tokens],
        "rows": maps[0].rows,
        "cols": maps[0].cols,
        "scores": report.before_softmax,
        "ramp": [color_of(max(0, one - 1) / 254) for one in range(256)],
        "unseen": UNSEEN,
        "first": first,
        "maps": [_map(one, _row(report, at), report.before_softmax) for at, one in enumerate(maps)],
        "parts": [_heads(report.heads), *_others(report)],
    }
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return PAGE.replace("__DATA__", content.replace("<", "\\u003c"))


def _row(report: InspectReport, at: int) -> HeadRow:
    assert report.heads is not None
    return report.heads[at]


def _facts(report: InspectReport, maps: Sequence[RegionMap]) -> str:
    cells = len(maps[0].rows) - 1
    each = "" if cells == len(report.tokens) else f", {cells} cells a side: the largest of each"
    values = "scores before the softmax" if report.before_softmax else "weights, shaded by their root"
    return (
        f"{plural(len(report.tokens), 'token')} from {report.source}; {plural(len(maps), 'head')} of "
        f"{plural(report.num_hidden_layers, 'layer')} of {report.num_attention_heads}; {values}{each}."
    )


def _map(one: RegionMap, row: HeadRow, scores: bool) -> dict[str, Any]:
    values = one.values.tolist()
    cells = bytes(
        0 if shade is None else 1 + round(254 * shade)
        for line in shades(values, scores=scores)
        for shade in line
    )
    finite = [value for line in values for value in line if math.isfinite(value)]
    stripe = "" if row.induction_stripe is None else f", on the probe's stripe {row.induction_stripe:.2f}"
    return {
        **{"layer": one.layer, "head": one.head, "classes": row.classes},
        **{"low": min(finite), "high": max(finite), "cells": base64.b64encode(cells).decode()},
        "figures": (
            f"entropy {row.entropy_nats:.2f} nats, looks {row.mean_distance_tokens:.1f} tokens back on "
            f"average, first token {row.sink:.2f}, previous {row.previous_token:.2f}, "
            f"duplicate {row.duplicate:.2f}, induction {row.induction:.2f}{stripe}"
        ),
    }


def _part(
    title: str, words: str, head: Sequence[str], rows: list[list[str]], *words_at: int
) -> dict[str, Any]:
    return {
        **{"title": title, "words": words, "head": list(head), "rows": rows},
        **{"words_at": list(words_at), "picks": head[0] == "head"},
    }


def _heads(rows: Sequence[HeadRow]) -> dict[str, Any]:
    lines = [
        [
            *(f"{one.layer}.{one.head}", ", ".join(one.classes).replace("_", " ")),
            *(
                f"{one.entropy_nats:.2f}",
                f"{one.effective_span_tokens:.1f}",
                f"{one.mean_distance_tokens:.1f}",
            ),
            *(f"{one.sink:.2f}", f"{one.previous_token:.2f}", f"{one.duplicate:.2f}"),
            f"{one.induction if one.induction_stripe is None else one.induction_stripe:.2f}",
            *(f"{one.current_token:.2f}", f"{one.local_mass:.2f}"),
        ]
        for one in rows
    ]
    head = (
        "head",
        "class",
        "entropy",
        "span",
        "distance",
        "first",
        "previous",
        "duplicate",
        "induction",
        "own",
    )
    words = "Shares of attention, means over the text's tokens; entropy in nats, span and distance in tokens."
    return _part("Figures", words, (*head, "local"), lines, 1)


def _others(report: InspectReport) -> list[dict[str, Any]]:
    """Of the parts that were asked for beside."""
    found = []
    if (moved := report.difference) is not None:
        lines = [
            [
                *(f"{one.layer}.{one.head}", f"{one.js_nats:.3g}", f"{one.entropy_change_nats:+.3f}"),
                *(f"{one.sink_change:+.3f}", f"{one.induction_change:+.3f}"),
            ]
            for one in sorted(moved.heads, key=lambda one: -one.js_nats)
        ]
        head = ("head", "JS (nats)", "entropy", "first token", "induction")
        found.append(_part(f"Against {moved.other}", "What moved most, first.", head, lines))
    if (lens := report.lens) is not None:
        lines = [
            [
                *(str(one.layers), str(one.rank), f"{one.probability:.4f}", f"{one.kl_nats:.3f}"),
                *(json.dumps(one.top, ensure_ascii=False), f"{one.top_probability:.3f}"),
            ]
            for one in lens.layers
        ]
        words = (
            f"After token {lens.query.position}, the answer {lens.answer!r}; 0 layers: the embeddings alone."
        )
        names = ("layers", "rank", "probability", "KL to final", "top", "its probability")
        found.append(_part("Logit lens", words, names, lines, 4))
    if (ablation := report.ablation) is not None:
        lines = [
            [
                *(f"{one.layer}.{one.head}", f"{one.loss_change_nats or 0:+.4f}", f"{one.kl_nats:.4f}"),
                *(f"{one.logit_change:+.3f}", f"{one.probability_change:+.4f}"),
            ]
            for one in sorted(ablation.heads, key=lambda one: -one.kl_nats)
        ]
        words = f"Each head alone put to {ablation.by}; logit and probability of {ablation.target!r}."
        head = ("head", "loss", "KL", "logit", "probability")
        found.append(_part("Ablation", words, head, lines))
    if (parts := report.attribution) is not None:
        flat = [
            (value, f"{layer}.{head}")
            for layer, row in enumerate(parts.heads)
            for head, value in enumerate(row)
        ]
        lines = [[name, f"{value:+.3f}"] for value, name in sorted(flat, key=lambda one: -abs(one[0]))]
        capped = "" if parts.capped_logit is None else f" (capped softly: {parts.capped_logit:.3f})"
        words = (
            f"Logit {parts.logit:.3f}{capped} of {parts.target!r} after token {parts.query.position}: "
            f"embedding {parts.embedding:+.3f}, MLPs {sum(parts.mlps):+.3f}, biases "
            f"{sum(parts.attention_biases) + parts.bias:+.3f}, and the heads:"
        )
        found.append(_part("Direct logit attribution", words, ("head", "logit"), lines))
    return found
