"""The report of `llmkit inspect-attention` as text for people."""

import textwrap
from collections.abc import Sequence

from llmkit.commands.facts import plural, quoted, visible
from llmkit.commands.inspect_attention.answer_text import ablation_lines, attribution_lines, lens_lines
from llmkit.commands.inspect_attention.heat import key_line, map_lines, shaded_text
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width
from llmkit.workflows.inspect_attention.report import (
    DifferencePart,
    ExpectRow,
    HeadRow,
    InspectReport,
    QueryPart,
    WorkedPart,
)

_KEYS_SHOWN = 40
_STRONGEST = 4
_NUMBERS = 3


def inspect_text(report: InspectReport, *, width: int, color: bool) -> str:
    """Each part that was asked for, under a line about the text."""
    adapter = "" if report.adapter is None else f" with {report.adapter}"
    title = (
        f"{visible(report.model)}{visible(adapter)}: {plural(len(report.tokens), 'token')}, "
        f"{plural(report.num_hidden_layers, 'layer')} of {plural(report.num_attention_heads, 'head')}"
    )
    scores = report.before_softmax
    blocks: list[list[str]] = []
    alone = not any((report.maps, report.query, report.worked, report.lens, report.difference))
    if report.heads is not None and alone and report.ablation is None and report.attribution is None:
        blocks.append(heads_lines(report.heads))
    if report.maps is not None:
        for one in report.maps:
            name = f"layer {one.layer} head {one.head}"
            blocks.append([name, *map_lines(one, report.tokens, scores=scores, color=color)])
        blocks.append([key_line(scores=scores, color=color)])
    if report.query is not None:
        blocks.append(query_lines(report.query, scores=scores, color=color, width=width))
    if report.worked is not None:
        blocks.append(worked_lines(report.worked))
    if report.lens is not None:
        blocks.append(lens_lines(report.lens))
    if report.ablation is not None:
        blocks.append(ablation_lines(report.ablation))
    if report.attribution is not None:
        blocks.append(attribution_lines(report.attribution))
    if report.difference is not None:
        blocks.append(difference_lines(report.difference))
    if report.expected is not None:
        blocks.append([expected_line(one) for one in report.expected])
    return "\n\n".join([title, *("\n".join(one) for one in blocks)])


def heads_lines(heads: Sequence[HeadRow]) -> list[str]:
    """The table of heads, and what its columns are."""
    head = ("head", "entropy", "span", "dist", "first", "prev", "dup", "induct", "own", "local", "class")
    rows = [
        (
            *(f"{one.layer}.{one.head}", f"{one.entropy_nats:.2f}", f"{one.effective_span_tokens:.1f}"),
            *(f"{one.mean_distance_tokens:.1f}", f"{one.sink:.2f}", f"{one.previous_token:.2f}"),
            f"{one.duplicate:.2f}",
            f"{one.induction if one.induction_stripe is None else one.induction_stripe:.2f}",
            *(f"{one.current_token:.2f}", f"{one.local_mass:.2f}"),
            ", ".join(one.classes).replace("_", " "),
        )
        for one in heads
    ]
    probe = heads[0].induction_stripe is not None
    induction = "the probe's stripe" if probe else "what came after the same token before"
    return [
        *align([head, *rows], right=tuple(range(10))).split("\n"),
        "",
        *textwrap.wrap(
            "entropy in nats, span and dist in tokens; the rest are shares of attention: on the first token, "
            f"the previous one, the same token before; on {induction}; on itself, the last few tokens.",
            text_width(),
        ),
    ]


def query_lines(parts: Sequence[QueryPart], *, scores: bool, color: bool, width: int) -> list[str]:
    """What one token looks at: of one head the whole text and a table, of several the strongest keys."""
    query = parts[0].query
    title = f"token {query.position} {quoted(query.text)} looks at"
    if len(parts) > 1:
        rows = [(f"{one.layer}.{one.head}", _strongest(one, scores=scores)) for one in parts]
        return [title, *align(rows, indent=2).split("\n")]
    (one,) = parts
    text = shaded_text(
        [key.weight for key in one.keys], [key.text for key in one.keys], color=color, width=width
    )
    order = sorted(one.keys, key=lambda key: -(key.score if scores else key.weight))
    shown = order[:_KEYS_SHOWN]
    lines = [
        (f"{key.position}", visible(quoted(key.text)), f"{key.score:+.3f}", f"{key.weight:.4f}")
        for key in shown
    ]
    left = len(order) - len(shown)
    more = [f"  and {plural(left, 'key')} more"] if left else []
    null = [f"  learnt sink {one.null:.4f}"] if one.null else []
    table = align([("key", "token", "score", "weight"), *lines], right=(0, 2, 3), indent=2)
    return [f"{title}, head {one.layer}.{one.head}", "", *text, "", *table.split("\n"), *more, *null]


def _strongest(one: QueryPart, *, scores: bool) -> str:
    order = sorted(one.keys, key=lambda key: -(key.score if scores else key.weight))[:_STRONGEST]
    number = [f"{key.score:+.2f}" if scores else f"{key.weight:.2f}" for key in order]
    return "  ".join(
        f"{visible(quoted(key.text))} {key.position} {value}"
        for key, value in zip(order, number, strict=True)
    )


def worked_lines(one: WorkedPart) -> list[str]:
    """Every step of one row: what is multiplied, scaled, turned into weights and added up."""
    capped = one.softcap is not None
    head = ["key", "token", "q.k", "scaled", *(["capped"] if capped else []), "exp", "weight"]
    head += [f"v[{n}]" for n in range(min(_NUMBERS, len(one.mixed)))]
    strongest = sorted(one.keys, key=lambda key: -key.weight)[:_KEYS_SHOWN]
    shown = sorted(strongest, key=lambda key: key.token.position)
    rows = [
        (
            *(
                f"{key.token.position}",
                visible(quoted(key.token.text)),
                f"{key.product:.4f}",
                f"{key.scaled:.4f}",
            ),
            *((f"{key.capped:.4f}",) if capped else ()),
            *(f"{key.exponential:.4f}", f"{key.weight:.4f}"),
            *(f"{number:.4f}" for number in key.value[:_NUMBERS]),
        )
        for key in shown
    ]
    left = len(one.keys) - len(shown)
    gap = ("",) * (3 if capped else 2)
    if one.sink is not None:
        rows.append(
            (
                "",
                "learnt sink",
                *gap,
                f"{one.sink_exponential:.4f}",
                f"{one.null:.4f}",
                *("0",) * min(_NUMBERS, len(one.mixed)),
            )
        )
    total = sum(key.exponential for key in one.keys) + one.sink_exponential
    weight = sum(key.weight for key in one.keys) + one.null
    rows.append(
        (
            "",
            "sum",
            *gap,
            f"{total:.4f}",
            f"{weight:.4f}",
            *(f"{number:.4f}" for number in one.mixed[:_NUMBERS]),
        )
    )
    cap = f", capped: {one.softcap:g} tanh(scaled / {one.softcap:g})" if one.softcap is not None else ""
    score = "capped" if capped else "scaled"
    return [
        f"layer {one.layer} head {one.head}, token {one.query.position} {quoted(one.query.text)}",
        f"  q = ({', '.join(f'{number:.4f}' for number in one.q[:8])}{', …' if len(one.q) > 8 else ''})",
        f"  scaled: {one.scale:.6g} (q.k){cap}; exp: e to the {score} less the largest;",
        "  weight: exp over its sum; below v[n]: the sum of weight times v[n], which goes on",
        *align([tuple(head), *rows], right=(0, *range(2, len(head))), indent=2).split("\n"),
        *([f"  and {plural(left, 'key')} of less weight, which are in the sums"] if left else []),
        f"  through o_proj this adds a vector of length {one.output_length:.4f} to the stream",
    ]


def difference_lines(part: DifferencePart) -> list[str]:
    """Which heads moved most."""
    order = sorted(part.heads, key=lambda one: -one.js_nats)
    rows = [
        (
            *(f"{one.layer}.{one.head}", f"{one.js_nats:.3g}", f"{one.entropy_change_nats:+.3f}"),
            *(f"{one.sink_change:+.3f}", f"{one.induction_change:+.3f}"),
        )
        for one in order
    ]
    head = ("head", "JS", "entropy", "first", "induction")
    return [
        f"{visible(part.other)} less the first model, what moved most first; JS of 0.69 is all of it",
        *align([head, *rows], right=(1, 2, 3, 4), indent=2).split("\n"),
    ]


def expected_line(one: ExpectRow) -> str:
    """Who does what was expected."""
    found = ", ".join(f"{layer}.{head}" for layer, head in one.heads)
    name = one.expected.replace("_", " ")
    return f"{name} from {one.threshold:g} on: {found or 'no head'} (best {one.best:.2f})"
