"""Records in, audited examples out: rendered, encoded in batches on all cores, memory bounded, order kept."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llmkit.errors import DataError, MissingError
from llmkit.formats.documents import Document, read_documents
from llmkit.formats.file_kind import holds_json_lines, suffix_of
from llmkit.formats.jsonl import Line, raw, read_records, record_id
from llmkit.formats.parquet import is_parquet, read_parquet
from llmkit.tokens.audit import Audit, ExampleError, Fault
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.examples import Example, Kind, examples_of
from llmkit.tokens.seen import SeenDigests
from llmkit.tokens.supervise import Prepared, Supervised, Supervisor, cut
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.workflows.finetune.audit import RejectLog
from llmkit.workflows.pretrain.data import told_name

Side = Literal["all", "train", "valid"]


@dataclass(frozen=True)
class Learnt:
    """An example that is learnt. Of a pair there are two answers, the chosen and the rejected."""

    id: str
    line: Line
    example: Example
    answers: tuple[Supervised, ...]
    faults: list[Fault]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How records become audited examples, and where what is found goes."""

    supervisor: Supervisor
    kind: Kind
    config: SuperviseConfig
    limit: int
    """Most tokens of an answer with its prompt."""
    side: Side = "all"
    audit: Audit = field(default_factory=Audit)
    log: RejectLog = field(default_factory=RejectLog)
    seen: SeenDigests = field(default_factory=SeenDigests)
    """Digests of the conversations so far; one that comes again is left out."""

    def examples(self, paths: Iterable[Path]) -> Iterator[Learnt]:
        """The examples of some files, in order; those with grave faults are left out.

        Raises:
            MissingError, ConfigError: messages, and no chat template or one that does not parse.
            DataError: a malformed line that nobody asked to pass over, or an example too long under
                `--long error`.
        """
        options = EncodeOptions(special=lambda document: _prepared(document).is_chat)
        done: list[Supervised] = []
        faults: list[Fault] = []
        for document, ids in encode_pairs(self.supervisor.tokenizer, self._texts(paths), options):
            assert isinstance(document, _Text)
            whole = self.supervisor.finish(document.prepared, ids)
            faults += [*document.prepared.faults, *self.supervisor.faults_of(whole, document.prepared)]
            try:
                short, lost = cut(whole, self.limit, self.config)
            except ExampleError as error:
                raise DataError(f"{document.where}: {error.problem}", hint=error.hint) from None
            done.append(short)
            faults += lost
            if len(done) < len(document.example.answers):
                continue
            if self.take(document.source, faults):
                for one in done:
                    self.audit.take_tokens(len(one.ids), int(one.learnt.sum()), one.lost)
                self.audit.examples += 1
                yield Learnt(document.id, document.source, document.example, tuple(done), faults)
            done, faults = [], []

    def found(self, paths: Iterable[Path]) -> Iterator[tuple[Line, str, Example]]:
        """The examples of this side before anything is rendered: line, id and what was read."""
        salt = self.config.seed.to_bytes(8, "little", signed=True)
        for line in read_lines(paths, self.log):
            try:
                examples = examples_of(line, self.kind)
            except ExampleError as error:
                if self.side != "valid":  # it cannot be told which side it would be on
                    self.audit.records += 1
                    self.take(line, [error.fault])
                continue
            for example in examples:
                digest = hashlib.blake2b(example.content, digest_size=16, salt=salt).digest()
                if self.side != "all" and is_held_out(digest, self.config.valid_fraction) != (
                    self.side == "valid"
                ):
                    continue
                self.audit.records += 1
                self.audit.shapes[example.shape] += 1
                if self.seen.add(digest):
                    self.take(line, [Fault("record.duplicate", "the same conversation came before")])
                    continue
                yield line, record_id(line) or digest.hex()[:16], example

    def _texts(self, paths: Iterable[Path]) -> Iterator["_Text"]:
        for line, identity, example in self.found(paths):
            try:
                prepared = [self.supervisor.prepare(one) for one in example.answers]
            except ExampleError as error:
                self.take(line, [error.fault])
                continue
            except MissingError as error:
                raise MissingError(f"{line.where}: {error.problem}", hint=error.hint) from None
            faults = [fault for one in prepared for fault in one.faults]
            if len(prepared) == 2 and prepared[0].text == prepared[1].text:
                faults.append(Fault("pair.equal", "chosen and rejected are the same"))
            if not all(fault.kept for fault in faults):
                self.take(line, faults)
                continue
            for one in prepared:
                yield _Text(
                    identity, one.text, line.file, line.number, prepared=one, example=example, source=line
                )

    def take(self, line: Line, faults: list[Fault]) -> bool:
        """Count and list what is wrong with a record; returns whether it is learnt all the same."""
        if faults:
            self.audit.take_faults(line.where, faults)
            self.log.take_faults(line, faults)
        return all(fault.kept for fault in faults)


@dataclass(frozen=True)
class _Text(Document):
    """A rendered answer on its way through the encoder."""

    prepared: Prepared = field(kw_only=True)
    example: Example = field(kw_only=True)
    source: Line = field(kw_only=True)


def is_held_out(digest: bytes, fraction: float) -> bool:
    """Whether a record with this digest belongs to the validation side."""
    return int.from_bytes(digest[8:16], "little") < fraction * 2.0**64


def read_lines(paths: Iterable[Path], log: RejectLog) -> Iterator[Line]:
    """The records of .jsonl files and parquet; a file of another name is one record with a `text`.

    Raises:
        DataError: a malformed line, unless the log takes it; a file that is one JSON array, or no lines.
    """
    for path in paths:
        if is_parquet(path):
            yield from read_parquet(path, on_bad=log.on_bad)
            continue
        if holds_json_lines(path):
            yield from read_records(path, name=told_name(path), on_bad=log.on_bad, array_key="messages")
            continue
        if suffix_of(path) == ".json":
            raise DataError(f"{path}: not lines of JSON, each an object", hint="jq -c . makes lines of it")
        for document in read_documents([path], on_bad=log.on_bad):
            yield Line({"text": raw(document.text)}, told_name(path), document.line)


def _prepared(document: Document) -> Prepared:
    assert isinstance(document, _Text)
    return document.prepared
