"""--expect: whether any head does what was asked for."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llmkit.errors import UsageError, nearest
from llmkit.probe.attention.config import HeadClasses, StatisticsConfig
from llmkit.probe.attention.heads import HEAD_CLASSES
from llmkit.workflows.inspect_attention.report import ExpectRow, HeadRow

_LOCAL_TOKENS = HeadClasses.local_windows * StatisticsConfig.local_window


def parse_expected(text: str) -> tuple[str, float]:
    """`induction`, with the threshold that classes have, or `induction:0.5`.

    Raises:
        UsageError: no such name, or a threshold that is none.
    """
    name, colon, number = text.partition(":")
    name = name.replace("-", "_")
    if name not in HEAD_CLASSES:
        close = nearest(name, HEAD_CLASSES)
        raise UsageError(
            f"--expect {text}: no head is called {name!r}",
            hint=f"did you mean {close}?" if close else f"names: {', '.join(HEAD_CLASSES)}",
        )
    if not colon:
        return name, float(getattr(HeadClasses(), name))
    try:
        threshold = float(number)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise UsageError(f"--expect {text}: {number!r} is no share", hint=f"--expect {name}:0.5")
    return name, threshold


def check_expected(rows: Sequence[HeadRow], expected: Sequence[str], tokens: int) -> list[ExpectRow]:
    """The heads that meet each, in a text of so many tokens."""
    found = []
    for text in expected:
        name, threshold = parse_expected(text)
        figures = [(row.class_scores[name], [row.layer, row.head]) for row in rows]
        if name == "local" and tokens < _LOCAL_TOKENS:  # everything is near
            figures = [(0.0, head) for _, head in figures]
        found.append(
            ExpectRow(
                expected=name,
                threshold=threshold,
                best=max(figure for figure, _ in figures),
                heads=[head for figure, head in figures if figure >= threshold],
            )
        )
    return found


def thresholds() -> dict[str, Any]:
    """Of names, as the report states them."""
    return asdict(HeadClasses())
