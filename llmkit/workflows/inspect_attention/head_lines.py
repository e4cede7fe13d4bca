"""The table of heads as jsonl: a line for each name that a head has, one without a name where it has none."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from llmkit.workflows.inspect_attention.report import HeadRow


def head_lines(heads: Iterable[HeadRow]) -> Iterator[dict[str, Any]]:
    """`layer`, `head`, `class`, its `score`, then the figures of the table.

    A head that is two things has two lines, so `select(.class == "induction")` finds every one.
    """
    for row in heads:
        figures = msgspec.to_builtins(row)
        where = {name: figures.pop(name) for name in ("layer", "head")}
        del figures["classes"]
        for name in (*row.classes,) or (None,):
            score = None if name is None else row.class_scores[name]
            yield {**where, "class": name, "score": score, **figures}
