"""What `llmkit inspect-attention` writes beside its report: edges as jsonl, maps as safetensors."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from llmkit.formats.atomic import atomic_file
from llmkit.formats.jsonl import encode_line
from llmkit.formats.safetensors_write import Planned, write_safetensors
from llmkit.probe.attention.capture import Captured, capture
from llmkit.probe.attention.edges import top_edges
from llmkit.probe.attention.region import Region
from llmkit.probe.attention.rows import attention_rows
from llmkit.progress import SILENT, Progress
from llmkit.workflows.inspect_attention.open import Inspected
from llmkit.workflows.inspect_attention.report import InspectReport, TokenRow
from llmkit.workflows.inspect_attention.text import Reading

_PART_NUMBERS = 1 << 22
"""Of a head's rows at a time."""


def write_edges(
    stream: BinaryIO,
    layer: Captured,
    heads: Sequence[int],
    region: Region,
    tokens: Sequence[TokenRow],
    top_k: int,
) -> None:
    """The strongest keys of each query of a layer: {"layer", "head", "query", "key", "weight", "score", …}.

    Of the keys of the region alone; a query's keys are the strongest of all that it sees.
    """
    low, high = region.keys
    queries = range(*region.queries)
    for head in heads:
        for edge in top_edges(layer, head, top_k, queries):
            if low <= edge.key < high:
                record = {
                    **{"layer": edge.layer, "head": edge.head, "query": edge.query, "key": edge.key},
                    **{"weight": edge.weight, "score": edge.score},
                    **{"query_text": tokens[edge.query].text, "key_text": tokens[edge.key].text},
                }
                stream.write(encode_line(record))


def save_maps(
    path: Path,
    opened: Inspected,
    reading: Reading,
    heads: dict[int, list[int]],
    region: Region,
    report: InspectReport,
    progress: Progress = SILENT,
) -> None:
    """One safetensors file: `layers.L.heads.H`, (queries, keys) float32; the tokens are in its metadata.

    Rows are made when their turn comes: a layer, and part of a head's rows, are in memory at a time.
    """
    captures = capture(opened.model, reading.ids, list(heads))
    current: list[Captured] = []
    height, width = (high - low for low, high in (region.queries, region.keys))
    count = sum(map(len, heads.values()))
    done = 0

    def rows(layer: int, head: int) -> Iterator[bytes]:
        nonlocal done
        progress.update(done, count, file=path.name)
        done += 1
        if not current or current[0].layer != layer:
            current[:] = [next(captures)]
        step = max(1, _PART_NUMBERS // len(reading.ids))
        for at in range(region.queries[0], region.queries[1], step):
            queries = slice(at, min(at + step, region.queries[1]))
            found = attention_rows(current[0], head, queries, before=report.before_softmax)
            yield found[:, slice(*region.keys)].float().cpu().contiguous().numpy().tobytes()

    tensors = [
        Planned(
            name=f"layers.{layer}.heads.{head}",
            dtype="F32",
            shape=(height, width),
            parts=lambda layer=layer, head=head: rows(layer, head),  # type: ignore[misc]
        )
        for layer, of_layer in heads.items()
        for head in of_layer
    ]
    with atomic_file(path) as stream, torch.no_grad():
        write_safetensors(stream, tensors, _metadata(report, region))


def _metadata(report: InspectReport, region: Region) -> dict[str, str]:
    """Strings, as the format wants: lists are JSON."""
    lists: dict[str, Any] = {
        "tokens": [one.text for one in report.tokens],
        "ids": [one.id for one in report.tokens],
        "queries": list(region.queries),
        "keys": list(region.keys),
    }
    return {
        "schema": "llmkit.attention-maps/1",
        "model": report.model,
        "source": report.source,
        "values": "scores" if report.before_softmax else "weights",
        **{name: json.dumps(value, ensure_ascii=False) for name, value in lists.items()},
    }
