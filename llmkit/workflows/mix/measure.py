"""First look at the documents of a mixture: the size of each, its licence, and a digest to draw lots with.

work/measure-00000.facts    a FACTS a document that the gate lets pass, in order
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xxhash

from llmkit.formats.atomic import atomic_file
from llmkit.formats.digest import content_id
from llmkit.formats.documents import Document, document_of
from llmkit.formats.jsonl import BadLine, Line, decode_field, record_id
from llmkit.text.history import licence_of, licences_of
from llmkit.text.licences.ids import UNKNOWN, normalise_licence
from llmkit.text.rule import Verdict
from llmkit.workflows.dedup.read import read_pieces
from llmkit.workflows.mix.options import MixSettings
from llmkit.workflows.units import Output, Piece, Unit, output_of

WORK, MESSAGES = "work", "messages"
FACTS = np.dtype([("key", "<u8"), ("size", "<u4"), ("bytes", "<u4"), ("licence", "<u4")])
"""`key`: digest of id and text; `size`: in the unit of the mixture; `licence`: its place in a list."""
_BLOCK = 1 << 14


class MeasureTask(msgspec.Struct, frozen=True):
    """Some input of one source."""

    source: int
    pieces: tuple[Piece, ...]
    settings: MixSettings


class MeasureReport(msgspec.Struct):
    """What a unit has found."""

    source: int
    documents: int = 0
    """That may be chosen."""
    bad_lines: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    """Documents that the gate refused, by licence."""
    licences: list[str] = msgspec.field(default_factory=list)
    """Those of the documents that may be chosen, as FACTS number them."""


def measure_unit(unit: Unit, folder: Path) -> tuple[list[Output], dict[str, Any]]:
    """Measure the documents of a unit."""
    task = msgspec.convert(unit.task, MeasureTask)
    settings = task.settings
    report = MeasureReport(task.source)
    refused: Counter[str] = Counter()
    licences: dict[str, int] = {}

    def passing() -> Iterator[Document]:
        for document, verdict in judged(task.pieces, settings):
            if isinstance(document, BadLine):
                report.bad_lines += 1
            elif verdict is not None:
                refused[str(verdict.value)] += 1
            else:
                yield document

    path = folder / WORK / f"{unit.name}.facts"
    with atomic_file(path) as stream:
        rows: list[tuple[int, int, int, int]] = []
        for document, size in _sized(passing(), settings):
            text = document.text.encode(errors="surrogatepass")
            key = xxhash.xxh3_64_intdigest(
                document.id.encode(errors="surrogatepass") + b"\0" + text, seed=0x6D6978
            )
            licence = licences.setdefault(licence_name(document), len(licences))
            rows.append((key, size, len(text), licence))
            report.documents += 1
            if len(rows) == _BLOCK:
                stream.write(np.array(rows, FACTS).tobytes())
                rows.clear()
        stream.write(np.array(rows, FACTS).tobytes())
    report.refused, report.licences = dict(sorted(refused.items())), list(licences)
    return [output_of(path, folder, report.documents)], msgspec.to_builtins(report)


def judged(
    pieces: tuple[Piece, ...], settings: MixSettings
) -> Iterator[tuple[Document | BadLine, Verdict | None]]:
    """Each document of some pieces with what the gate says; None lets it pass."""
    gate = settings.gate
    asks = bool(settings.license_allow or settings.license_deny or settings.require_license)
    for document in read_pieces(
        pieces, field=settings.field, skips_bad=settings.skips_bad, document_from=text_or_chat
    ):
        verdict = None
        if asks and isinstance(document, Document):
            verdict = gate.judge_all(licences_of(document.record))
        yield document, verdict


def text_or_chat(line: Line, field: str) -> Document:
    """The document of a record; the text of a chat is its messages as they stand.

    Raises:
        DataError: neither a text nor messages.
    """
    if field in line.record or MESSAGES not in line.record:
        return document_of(line, field)
    decode_field(line, MESSAGES, list[dict])  # type: ignore[type-arg]
    text = bytes(line.record[MESSAGES]).decode()
    return Document(record_id(line) or content_id(text), text, line.file, line.number, line.record)


def licence_name(document: Document) -> str:
    """The licence of a document as a table names it: an SPDX id or expression, what it says, or unknown."""
    declared = licence_of(document.record)
    return UNKNOWN if declared is None else normalise_licence(declared) or declared


def _sized(documents: Iterator[Document], settings: MixSettings) -> Iterator[tuple[Document, int]]:
    """Each document with its size in the unit of the mixture."""
    if settings.by == "tokens":
        from llmkit.tokens.encode import EncodeOptions, encode_pairs  # a second's worth of libraries
        from llmkit.tokens.load import load_tokenizer
        from llmkit.workflows.tokenize.input import is_chat, text_reader

        tokenizer = load_tokenizer(Path(str(settings.tokenizer)))
        render = text_reader(tokenizer)

        def shown() -> Iterator[Document]:
            for document in documents:
                if is_chat(document, settings.field):
                    document = render(Line(document.record, document.file, document.line), settings.field)
                yield document

        options = EncodeOptions(
            special=lambda document: is_chat(document, settings.field), threads=settings.threads
        )
        for document, ids in encode_pairs(tokenizer, shown(), options):
            yield document, len(ids)
        return
    for document in documents:
        is_bytes = settings.by == "bytes"
        yield document, len(document.text.encode(errors="surrogatepass")) if is_bytes else 1
