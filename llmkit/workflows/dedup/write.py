"""What becomes of a document: kept as it came, cut, tagged, or a reject with its reason; and the counting."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from llmkit.formats.documents import Document
from llmkit.formats.jsonl import BadLine, Record, encode_line, raw, with_id
from llmkit.formats.rejects import reject_record
from llmkit.text.exact_pieces import TextPiece, spans, without
from llmkit.text.history import roomy_object_at, with_history
from llmkit.workflows.dedup.options import DedupConfig

STAGE = "dedup"


class Tally(msgspec.Struct):
    """Documents and bytes of text: what came in is what was kept and what was removed."""

    documents: int = 0
    kept: int = 0
    removed: int = 0
    tagged: int = 0
    """Kept, though duplicates."""
    edited: int = 0
    """Kept with pieces taken out."""
    pieces: int = 0
    """Paragraphs, lines or spans taken out or tagged, those of removed documents too."""
    bad_lines: int = 0
    bytes: int = 0
    kept_bytes: int = 0
    removed_bytes: int = 0

    def add(self, other: "Tally") -> None:
        """Count another's too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class DocumentWriter:
    """Writes documents to where they go."""

    def __init__(self, config: DedupConfig, kept: BinaryIO, rejects: BinaryIO | None) -> None:
        self.tally = Tally()
        self._config = config
        self._kept = kept
        self._rejects = rejects

    def keep(self, document: Document, *, members: int = 0) -> None:
        """A document that stays; `members` were dropped for it."""
        record = with_id(document.record, document.id)
        if members:
            record = with_history(record, STAGE, rule=self._config.by, duplicates=members)
        self._write(document, record, None)

    def duplicate(self, document: Document, *, keeper: str, similarity: float | None) -> None:
        """A document that another is kept for: a reject, or tagged."""
        if self._config.mode == "tag":
            tag: dict[str, Any] = {"dup_of": keeper, "rule": self._config.by}
            tag |= {} if similarity is None else {"similarity": round(similarity, 4)}
            self.tally.tagged += 1
            record = _tagged(with_id(document.record, document.id), tag)
            self._write(document, record, None)
            return
        self._count(document, 0)
        self.tally.removed += 1
        self._reject(document, keeper, similarity)

    def cut(self, document: Document, again: Sequence[TextPiece]) -> None:
        """A document some of whose pieces have been there before."""
        if not again:
            self.keep(document)
            return
        self.tally.pieces += len(again)
        record = with_id(document.record, document.id)
        if self._config.mode == "tag":
            self.tally.tagged += 1
            tag = {"rule": self._config.by, "spans": spans(again)}
            self._write(document, _tagged(record, tag), None)
            return
        left = without(document.text, again)
        if not left.strip():
            self._count(document, 0)
            self.tally.removed += 1
            self._reject(document, None, None, value=len(again))
            return
        self.tally.edited += 1
        record = with_history(
            {**record, self._config.field: raw(left)}, STAGE, rule=self._config.by, removed=len(again)
        )
        self._write(document, record, _size(left))

    def repetitive(self, document: Document, share: float) -> None:
        """A document that is dropped for the share of its words that came before."""
        self._count(document, 0)
        self.tally.removed += 1
        self._reject(document, None, None, value=round(share, 4))

    def bad(self, line: BadLine) -> None:
        """A malformed line that is passed over."""
        self.tally.bad_lines += 1
        if self._rejects is not None:
            self._rejects.write(encode_line(reject_record(line, STAGE)))

    def _write(self, document: Document, record: Record, left: int | None) -> None:
        """`left`: bytes of text that stay; None: all."""
        self._count(document, left)
        self.tally.kept += 1
        self._kept.write(encode_line(record))

    def _count(self, document: Document, left: int | None) -> None:
        size = _size(document.text)
        kept_bytes = size if left is None else left
        self.tally.documents += 1
        self.tally.bytes += size
        self.tally.kept_bytes += kept_bytes
        self.tally.removed_bytes += size - kept_bytes

    def _reject(
        self, document: Document, keeper: str | None, similarity: float | None, value: Any = None
    ) -> None:
        if self._rejects is None:
            return
        is_near = self._config.by == "near"
        similarity = None if similarity is None else round(similarity, 4)
        why: dict[str, Any] = {"stage": STAGE, "rule": self._config.by}
        why |= {"value": similarity if is_near else value}
        threshold = self._config.similarity if is_near and self._config.verify else self._config.drop_above
        why |= {"threshold": threshold}
        why |= {} if keeper is None else {"dup_of": keeper}
        why |= {} if similarity is None else {"similarity": similarity}
        why |= {"file": document.file, "line": document.line}
        self._rejects.write(encode_line({**document.record, "_reject": raw(why)}))


def _tagged(record: Record, tag: dict[str, Any]) -> Record:
    attributes = roomy_object_at(record, "attributes")
    attributes[STAGE] = raw(tag)
    return {**record, "attributes": raw(attributes)}


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
