"""What is seen layer by layer: figures of heads, maps, one query's rows, the worked example, what moved."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from llmkit.errors import UsageError
from llmkit.model.config import ModelConfig
from llmkit.probe.attention.ablate import check_head
from llmkit.probe.attention.capture import Captured, capture, check_attends, check_attention
from llmkit.probe.attention.difference import head_difference, head_divergences
from llmkit.probe.attention.heads import class_scores, classify
from llmkit.probe.attention.patterns import induction_stripe
from llmkit.probe.attention.region import Region, RegionMap, region_map, region_of
from llmkit.probe.attention.rows import attention_rows
from llmkit.probe.attention.statistics import HeadStatistics, head_statistics
from llmkit.probe.attention.worked import Worked, worked_example
from llmkit.progress import SILENT, Progress
from llmkit.workflows.inspect_attention.config import Head, InspectViews
from llmkit.workflows.inspect_attention.open import Inspected
from llmkit.workflows.inspect_attention.report import (
    DifferenceRow,
    HeadRow,
    Key,
    QueryPart,
    TokenRow,
    WorkedKey,
    WorkedPart,
)
from llmkit.workflows.inspect_attention.text import Reading

KEYS_OF_SEVERAL = 32
"""Keys of a query that are kept, the strongest, where several heads are looked at; of one head all are."""


@dataclass(frozen=True)
class Wanted:
    """What to gather while the layers go by."""

    heads: dict[int, list[int]]
    """Of each layer that is looked at."""
    views: InspectViews
    query: int
    """Position."""
    statistics: bool
    pictures: dict[str, tuple[int, int]]
    """Most rows and columns of the maps for each purpose."""
    region: Region
    """Of all maps but a page's, which are of the whole text."""


@dataclass
class Seen:
    """What was gathered."""

    heads: list[HeadRow] = field(default_factory=list)
    pictures: dict[str, list[RegionMap]] = field(default_factory=dict)
    query: list[QueryPart] = field(default_factory=list)
    worked: WorkedPart | None = None
    differences: list[DifferenceRow] = field(default_factory=list)


def chosen_heads(views: InspectViews, config: ModelConfig) -> dict[int, list[int]]:
    """The heads of each layer that --layers and --heads leave; all without them.

    Raises:
        UsageError: a layer or head that the model does not have, or none that both leave.
    """
    check_attention(config)
    layers = config.num_hidden_layers
    for layer in views.layers or ():
        if layer >= layers:
            raise UsageError(
                f"there is no layer {layer} (found {layers})", hint=f"layers are 0 to {layers - 1}"
            )
        check_attends(layer, config)
    for layer, head in views.heads or ():
        check_head(layer, head, config)
    found: dict[int, list[int]] = {}
    for layer, head in all_heads(config) if views.heads is None else views.heads:
        if views.layers is None or layer in views.layers:
            found.setdefault(layer, []).append(head)
    if not found:
        raise UsageError("--heads and --layers have nothing in common", hint="give one of them")
    return dict(sorted(found.items()))


def all_heads(config: ModelConfig) -> list[Head]:
    """Every head of the layers that attend."""
    return [(layer, head) for layer in config.attention_layers for head in range(config.num_attention_heads)]


def look(
    opened: Inspected,
    reading: Reading,
    wanted: Wanted,
    *,
    other: Inspected | None = None,
    each: Callable[[Captured, Sequence[int]], None] | None = None,
    progress: Progress = SILENT,
) -> Seen:
    """Go through the layers once, each in memory alone.

    Args:
        opened: the model.
        reading: the text.
        wanted: what to gather.
        other: a model to hold beside it.
        each: called with every layer and its heads.
        progress: told of layers.

    Raises:
        DataError: the other model does not have the same heads.
    """
    seen = Seen(pictures={name: [] for name in wanted.pictures})
    layers = list(wanted.heads)
    whole = region_of(len(reading.ids), (None, None), (None, None))
    captures = capture(opened.model, reading.ids, layers)
    others: Iterable[Captured | None] = (
        [None] * len(layers) if other is None else capture(other.model, reading.ids, layers)
    )
    for done, (layer, beside) in enumerate(zip(captures, others, strict=True)):
        progress.update(done, len(layers), layer=str(layer.layer))
        heads = wanted.heads[layer.layer]
        if wanted.statistics or beside is not None:
            _figures(layer, beside, heads, reading, seen)
        for name, (rows, cols) in wanted.pictures.items():
            part = whole if name == "page" else wanted.region
            before = wanted.views.before_softmax
            seen.pictures[name] += [
                region_map(layer, head, part, rows, cols, before=before) for head in heads
            ]
        if wanted.views.shows_query:
            most = None if sum(map(len, wanted.heads.values())) == 1 else KEYS_OF_SEVERAL
            seen.query += [_query(layer, head, wanted.query, reading.tokens, most) for head in heads]
        if wanted.views.worked:
            seen.worked = _worked(worked_example(layer, heads[0], wanted.query), reading.tokens)
        if each is not None:
            each(layer, heads)
    return seen


def _figures(
    layer: Captured, beside: Captured | None, heads: list[int], reading: Reading, seen: Seen
) -> None:
    """Figures of heads; where there is another model, what moved."""
    found = head_statistics(layer, reading.ids, heads=heads)
    stripes = None if reading.repeated is None else induction_stripe(layer, reading.repeated)
    seen.heads += [_row(one, None if stripes is None else stripes[one.head]) for one in found]
    if beside is None:
        return
    divergences = head_divergences(layer, beside, heads)
    others = head_statistics(beside, reading.ids, heads=heads)
    moved = None if reading.repeated is None else induction_stripe(beside, reading.repeated)
    for one, two, js in zip(found, others, divergences, strict=True):
        both = None if stripes is None or moved is None else (stripes[one.head], moved[one.head])
        change = head_difference(one, two, js, stripes=both)
        seen.differences.append(
            DifferenceRow(
                layer=change.layer,
                head=change.head,
                js_nats=change.js,
                entropy_change_nats=change.entropy,
                sink_change=change.sink,
                induction_change=change.induction,
            )
        )


def _row(one: HeadStatistics, stripe: float | None) -> HeadRow:
    kurtosis = one.score_kurtosis
    return HeadRow(
        layer=one.layer,
        head=one.head,
        classes=list(classify(one, stripe=stripe)),
        class_scores={str(name): score for name, score in class_scores(one, stripe=stripe).items()},
        entropy_nats=one.entropy,
        normalised_entropy=one.normalised_entropy,
        effective_span_tokens=one.effective_span,
        mean_distance_tokens=one.mean_distance,
        max_weight=one.max_weight,
        sink=one.bos_mass,
        current_token=one.current_token,
        previous_token=one.previous.score(),
        duplicate=one.duplicate.score(),
        induction=one.induction.score(),
        induction_stripe=stripe,
        local_mass=one.local_mass,
        null_mass=one.null_mass,
        score_min=one.score_min,
        score_max=one.score_max,
        score_kurtosis=kurtosis if kurtosis == kurtosis else None,
        weighted_sink=one.weighted_bos_mass,
        weighted_distance_tokens=one.weighted_distance,
    )


def _query(layer: Captured, head: int, query: int, tokens: list[TokenRow], most: int | None) -> QueryPart:
    weights = attention_rows(layer, head, [query])[0]
    scores = attention_rows(layer, head, [query], before=True)[0]
    places = list(range(layer.first_key(query), query + 1))
    if most is not None and len(places) > most:
        places = sorted(scores.topk(most).indices.tolist())
    return QueryPart(
        layer=layer.layer,
        head=head,
        query=tokens[query],
        null=0.0 if layer.sinks is None else max(0.0, 1.0 - float(weights.sum())),
        keys=[
            Key(
                position=place,
                text=tokens[place].text,
                weight=float(weights[place]),
                score=float(scores[place]),
            )
            for place in places
        ],
    )


def _worked(one: Worked, tokens: list[TokenRow]) -> WorkedPart:
    steps = zip(
        *(one.keys, one.products, one.scaled, one.capped, one.exponentials, one.weights, one.v.tolist()),
        strict=True,
    )
    return WorkedPart(
        layer=one.layer,
        head=one.head,
        query=tokens[one.query],
        q=one.q.tolist(),
        scale=one.scale,
        softcap=one.softcap,
        sink=one.sink,
        sink_exponential=one.sink_exponential,
        null=one.null,
        keys=[
            WorkedKey(
                token=tokens[place],
                product=product,
                scaled=scaled,
                capped=capped,
                exponential=exponential,
                weight=weight,
                value=value,
            )
            for place, product, scaled, capped, exponential, weight, value in steps
        ],
        mixed=one.mixed.tolist(),
        output_length=float(one.output.double().norm()),
    )
