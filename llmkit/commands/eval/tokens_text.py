"""Tokens with their scores, for people: a coloured text, a table, and the report on labelled answers."""

import math
from collections.abc import Sequence
from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line, visible
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width

SHADES = ((1.0, None), (3.0, 229), (6.0, 222), (9.0, 215), (12.0, 208), (math.inf, 196))
"""Surprisal in bits below which a token has this background, of the 256 colours."""
RESET, BLACK, UNDERLINE = "\x1b[0m", "\x1b[30m", "\x1b[4m"
OPEN, CLOSE = "[[", "]]"
_SHOWN = 3
_BAR = 20


def sample_text(scored: Any, marking: Any, *, color: bool) -> str:
    """A ScoredSample as its text, each token on the shade of its surprise; unsure spans are underlined.

    Without colour the spans stand in [[double brackets]].
    """
    answer = scored.answer
    parts = [
        _shaded(scored.prompt, scored.spans if answer is None else [], color=color),
        "" if answer is None else _shaded(answer, scored.spans, color=color),
    ]
    legend = _legend() if color else f"{OPEN}{CLOSE} below {marking.threshold:g}"
    return "\n".join(["".join(parts), "", *_summary(scored, marking), f"  {legend}"])


def sample_table(scored: Any, marking: Any) -> str:
    """A ScoredSample as a table, a row a token; those of unsure spans have a star."""
    gains = scored.grounding is not None
    rows = [
        ("", "id", "token", "p", "bits", "rank", "entropy", "margin", *(["gain"] if gains else []), "best")
    ]
    marked = {place for span in scored.spans for place in range(span.start, span.end)}
    for part, name in ((scored.prompt, "prompt"), (scored.answer or [], "answer")):
        unsure = marked if (name == "answer") == (scored.answer is not None) else set()
        rows += [_row(token, place in unsure, gains=gains) for place, token in enumerate(part)]
    table = align(rows, right=(1, *range(3, 9 if gains else 8)))
    return "\n".join([table, "", *_summary(scored, marking)])


def calibration_text(report: Any) -> str:
    """A CalibrationReport as facts, and the reliability table."""
    found = report.calibration
    before, after = found.scores, found.scores_at_temperature
    facts: Facts = [
        ("labelled", f"{plural(found.answers, report.of.removesuffix('s'))}, {found.accuracy:.2%} right"),
        ("confidence", f"{found.mean_confidence:.2%} in the mean"),
        ("ECE", f"{before.ece:.4f}, at the temperature {after.ece:.4f}"),
        ("Brier", f"{before.brier:.4f}, at the temperature {after.brier:.4f}"),
        ("NLL", f"{before.nll:.4f}, at the temperature {after.nll:.4f}"),
        ("temperature", f"{found.temperature:.4g}; {_sureness(found)}"),
        ("AUROC", None if found.auroc is None else f"{found.auroc:.4f}"),
        ("threshold", _threshold(found)),
    ]
    rows = [("confidence", "count", "mean", "right", "")]
    for one in found.bins:
        if one.count:
            bar = "#" * round(one.accuracy * _BAR)
            rows.append(
                (
                    f"{one.low:.2f} to {one.high:.2f}",
                    f"{one.count:,}",
                    f"{one.confidence:.3f}",
                    f"{one.accuracy:.3f}",
                    bar,
                )
            )
    title = title_line(report.model, "calibration", f"of {report.of}")
    return "\n".join([title, *facts_lines(facts, text_width()), "", align(rows, right=(1, 2, 3))])


def _shaded(tokens: Sequence[Any], spans: Sequence[Any], *, color: bool) -> str:
    opens, closes = {span.start for span in spans}, {span.end for span in spans}
    inside = {place for span in spans for place in range(span.start, span.end)}
    pieces: list[str] = []
    for place, token in enumerate(tokens):
        text = _printable(token["text"])
        if color:
            pieces.append(_painted(text, token["surprisal_bits"], underline=place in inside))
            continue
        pieces.append((OPEN if place in opens else "") + text)
        pieces.append(CLOSE if place + 1 in closes else "")
    return "".join(pieces)


def _painted(text: str, bits: float | None, *, underline: bool) -> str:
    """The colour ends before a line does: a terminal would fill the line with it."""
    shade = None if bits is None else next(color for most, color in SHADES if bits < most)
    start = ("" if shade is None else f"\x1b[48;5;{shade}m{BLACK}") + (UNDERLINE if underline else "")
    if not start:
        return text
    return "\n".join(f"{start}{line}{RESET}" if line else "" for line in text.split("\n"))


def _printable(text: str) -> str:
    """Control characters but line feeds and tabs as \\xNN."""
    return "".join(one if one in "\n\t" else visible(one) for one in text)


def _legend() -> str:
    names = [
        f"\x1b[48;5;{color}m{BLACK} {'12 bits or more' if most == math.inf else f'below {most:g}'} {RESET}"
        for most, color in SHADES
        if color is not None
    ]
    return " ".join(["surprise:", *names])


def _row(token: Any, unsure: bool, *, gains: bool) -> tuple[str, ...]:
    bits = token["surprisal_bits"]
    best = "  ".join(f"{one['text']!r} {math.exp(one['logprob']):.1%}" for one in token["top"][:_SHOWN])
    if bits is None:
        figures = [""] * (6 if gains else 5)
    else:
        figures = [
            f"{math.exp(token['logprob']):.2%}",
            f"{bits:.2f}",
            f"{token['rank']:,}",
            f"{token['entropy_bits']:.2f}",
            f"{token['margin']:.3f}",
        ]
        if gains:
            gain = token.get("gain_bits")
            figures.append("" if gain is None else f"{gain:+.2f}")
    return ("*" if unsure else "", str(token["id"]), repr(token["text"]), *figures, best)


def _summary(scored: Any, marking: Any) -> list[str]:
    summary, gained = scored.summary, scored.grounding
    how = "calibrated" if marking.calibrated else "not calibrated"
    facts: Facts = [
        (
            "scored",
            f"{plural(summary.scored_tokens, 'token')}, log probability {summary.logprob:.4f}"
            + (f", perplexity {summary.perplexity:.4f}" if summary.perplexity is not None else ""),
        ),
        ("confidence", None if summary.confidence is None else f"{summary.confidence:.2%}"),
        (
            "passage",
            None
            if gained is None
            else f"{gained.gain_bits:+.3f} bits, {gained.gain_bits_per_token:+.3f} a token; "
            f"{gained.raised:,} of {plural(gained.tokens, 'token')} likelier",
        ),
        ("not sure", f"{plural(len(scored.spans), 'span')} below {marking.threshold:g} ({how})"),
        *(("", f"{span.confidence:.2%} {span.text!r}") for span in scored.spans),
    ]
    return facts_lines(facts, text_width())


def _sureness(found: Any) -> str:
    if math.isclose(found.mean_confidence, found.accuracy, abs_tol=0.02):
        return "in the mean as sure as it may be"
    return "too sure" if found.mean_confidence > found.accuracy else "not sure enough"


def _threshold(found: Any) -> str:
    if found.threshold is None:
        return f"none keeps {found.keep_accuracy:.0%} right"
    kept = f"{found.kept:,} of {found.answers:,} kept"
    return f"{found.threshold:.4g}: {kept}, at least {found.keep_accuracy:.0%} of them right"
