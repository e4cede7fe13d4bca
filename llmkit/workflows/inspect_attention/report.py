"""What `llmkit inspect-attention` reports: the text, and of each view its figures."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the report."""


class TokenRow(Struct, frozen=True, kw_only=True):
    """A token of the text."""

    position: int
    id: int
    text: str


class HeadRow(Struct, frozen=True, kw_only=True):
    """A head's figures over the text: `HeadStatistics`, with patterns as shares of attention."""

    layer: int
    head: int
    classes: list[str]
    class_scores: dict[str, float]
    """The figure that decides on each name."""
    entropy_nats: float
    normalised_entropy: float
    effective_span_tokens: float
    mean_distance_tokens: float
    max_weight: float
    sink: float
    """Mean weight on the first key."""
    current_token: float
    previous_token: float
    duplicate: float
    induction: float
    induction_stripe: float | None
    """On repeated random tokens; None where the text is another."""
    local_mass: float
    null_mass: float
    score_min: float
    score_max: float
    score_kurtosis: float | None
    weighted_sink: float | None
    """Share of the first key in weights times the length of what each value adds to the stream."""
    weighted_distance_tokens: float | None


class MapPart(Struct, frozen=True, kw_only=True):
    """A head's matrix, or the largest weight in each cell of it."""

    layer: int
    head: int
    rows: list[int]
    """Where each row of cells begins, and the end: queries."""
    cols: list[int]
    """The same of keys."""
    values: list[list[float | None]]
    """None where no key of a cell is seen."""


class Key(Struct, frozen=True, kw_only=True):
    """What a query gives one key."""

    position: int
    text: str
    weight: float
    score: float
    """Before the softmax, scaled and capped."""


class QueryPart(Struct, frozen=True, kw_only=True):
    """One head's row of one query; of one head all keys, of several the 32 strongest of each; in order."""

    layer: int
    head: int
    query: TokenRow
    null: float
    """The learnt sink's share."""
    keys: list[Key]


class WorkedKey(Struct, frozen=True, kw_only=True):
    """One key of the worked example."""

    token: TokenRow
    product: float
    scaled: float
    capped: float
    exponential: float
    weight: float
    value: list[float]


class WorkedPart(Struct, frozen=True, kw_only=True):
    """One row, step by step."""

    layer: int
    head: int
    query: TokenRow
    q: list[float]
    scale: float
    softcap: float | None
    sink: float | None
    sink_exponential: float
    null: float
    keys: list[WorkedKey]
    mixed: list[float]
    """The weighted sum of the values."""
    output_length: float
    """Euclidean, of what the row adds to the stream through o_proj."""


class LensLayerRow(Struct, frozen=True, kw_only=True):
    """What would be said after so many layers."""

    layers: int
    rank: int
    probability: float
    kl_nats: float
    top: str
    top_id: int
    top_probability: float


class LensPart(Struct, frozen=True, kw_only=True):
    """One position through all layers."""

    query: TokenRow
    answer: str
    answer_id: int
    first_final: int
    """After how many layers the top token is, for the first time, the whole model's."""
    settled: int
    """After how many it stays so."""
    layers: list[LensLayerRow]


class AblationRow(Struct, frozen=True, kw_only=True):
    """The model without one head, less the whole model."""

    layer: int
    head: int
    loss_change_nats: float | None
    kl_nats: float
    logit_change: float
    probability_change: float


class AblationPart(Struct, frozen=True, kw_only=True):
    """Heads taken out one at a time."""

    by: str
    query: TokenRow
    target: str
    target_id: int
    heads: list[AblationRow]


class AttributionPart(Struct, frozen=True, kw_only=True):
    """The parts of one logit."""

    query: TokenRow
    target: str
    target_id: int
    logit: float
    """Before the soft-capping of logits."""
    capped_logit: float | None = None
    """After it; null where the model caps none."""
    embedding: float
    heads: list[list[float]]
    """By layer and head."""
    attention_biases: list[float]
    mlps: list[float]
    bias: float
    total: float


class DifferenceRow(Struct, frozen=True, kw_only=True):
    """A head of the other model, less the same head of the first."""

    layer: int
    head: int
    js_nats: float
    entropy_change_nats: float
    sink_change: float
    induction_change: float


class DifferencePart(Struct, frozen=True, kw_only=True):
    """Two models on one text."""

    other: str
    heads: list[DifferenceRow]


class ExpectRow(Struct, frozen=True, kw_only=True):
    """One --expect, and the heads that meet it."""

    expected: str
    threshold: float
    best: float
    heads: list[list[int]]


class InspectReport(Struct, frozen=True, kw_only=True):
    """The whole of it; parts that were not asked for are None."""

    schema: str = "llmkit.inspect-attention/1"
    model: str
    adapter: str | None
    source: str
    """File and line of the text, `text`, `tokens` or `probe induction`."""
    num_hidden_layers: int
    num_attention_heads: int
    dtype: str
    tokens: list[TokenRow]
    thresholds: dict[str, Any]
    """From which figure on a head has a name."""
    before_softmax: bool
    heads: list[HeadRow] | None = None
    maps: list[MapPart] | None = None
    query: list[QueryPart] | None = None
    worked: WorkedPart | None = None
    lens: LensPart | None = None
    ablation: AblationPart | None = None
    attribution: AttributionPart | None = None
    difference: DifferencePart | None = None
    expected: list[ExpectRow] | None = None
    files: list[str] = []
    """Written."""


def head_lines(heads: Iterable[HeadRow]) -> Iterator[dict[str, Any]]:
    """The table of heads as jsonl: `layer`, `head`, `class`, its `score`, then the figures of the table.

    A head that is two things has two lines, so `select(.class == "induction")` finds every one; a head that
    is none has one.
    """
    for row in heads:
        figures = msgspec.to_builtins(row)
        where = {name: figures.pop(name) for name in ("layer", "head")}
        del figures["classes"]
        for name in (*row.classes,) or (None,):
            score = None if name is None else row.class_scores[name]
            yield {**where, "class": name, "score": score, **figures}
