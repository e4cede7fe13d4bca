"""What `llmkit pack` reads: ids as they are, of other trainers too; texts and chats encoded on the way."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from llmkit.errors import DataError, UsageError
from llmkit.formats.documents import Document, read_documents
from llmkit.formats.jsonl import Line, OnBad
from llmkit.formats.token_documents import TokenDocument, token_document
from llmkit.formats.token_files import INDEX_SUFFIX, SUFFIX, is_token_file, open_token_file
from llmkit.tokens.boundary import Markers
from llmkit.tokens.config import PackConfig
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.gaps import GapMaker
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.input import is_chat, text_reader


@dataclass(frozen=True, kw_only=True)
class PackJob:
    """What is packed and how, opened and checked."""

    inputs: Sequence[Path]
    """Files and stdin; folders are expanded."""
    tokenizer: Tokenizer | None
    markers: Markers
    config: PackConfig
    field: str
    workers: int | None
    """Threads that encode and compress; None: one for each core."""
    gaps: GapMaker | None = None
    """What tells some of them with a gap; None: all stay whole."""


@dataclass(frozen=True)
class Encoded(Document):
    """A record that came with its tokens."""

    tokens: TokenDocument | None = None
    id_bytes: int = 0
    """Of an id in its file; 0: written in digits."""


def read_packable(job: PackJob, on_bad: OnBad | None) -> Iterator[Document]:
    """Records with `tokens`, with text or with messages, plain files and files of ids, in order.

    Raises:
        MissingError, DataError: as `read_documents`; also ids that the tokenizer has not got.
        UsageError: text, and no tokenizer to encode it with.
    """
    read_text = None if job.tokenizer is None else text_reader(job.tokenizer)

    def document_from(line: Line, field: str) -> Document:
        if "tokens" in line.record:
            document = token_document(line)
            _check_ids(document, job.tokenizer)
            return Encoded(document.id, "", line.file, line.number, {}, document)
        if read_text is None:
            raise _needs_tokenizer(line.where, line.record)
        return read_text(line, field)

    for path in job.inputs:
        if is_token_file(path):
            yield from _read_ids(path, job.tokenizer)
            continue
        if path.suffix == INDEX_SUFFIX and path.with_suffix(SUFFIX) in job.inputs:
            continue
        if path.suffix == INDEX_SUFFIX and path.with_suffix(SUFFIX).is_file():
            ids = path.with_suffix(SUFFIX)
            raise UsageError(f"{path}: the index of {ids.name}, which has the ids", hint=f"give {ids}")
        for document in read_documents(
            [path], text_field=job.field, on_bad=on_bad, document_from=document_from
        ):
            if job.tokenizer is None and not isinstance(document, Encoded):
                raise _needs_tokenizer(document.where, ())
            yield document


def encode_packable(documents: Iterable[Document], job: PackJob, first: int = 0) -> Iterator[TokenDocument]:
    """The token documents of what `read_packable` gives, in the same order.

    Args:
        documents: to encode.
        job: how.
        first: the number of the first among all that are read, by which gaps are drawn.
    """
    options = EncodeOptions(special=lambda document: is_chat(document, job.field), threads=job.workers)
    numbered = enumerate(documents, first)
    for encoded, group in groupby(numbered, lambda one: isinstance(one[1], Encoded)):
        if encoded:
            for number, document in group:
                assert isinstance(document, Encoded) and document.tokens is not None
                tokens = document.tokens
                yield tokens if job.gaps is None else job.gaps.cut_tokens(number, tokens)
        elif job.gaps is not None:
            yield from job.gaps.encode(group, options)
        elif job.tokenizer is not None:
            for document, ids in encode_pairs(job.tokenizer, (one for _, one in group), options):
                yield TokenDocument(document.id, ids, None, document.where, document.record)


def _read_ids(path: Path, tokenizer: Tokenizer | None) -> Iterator[Document]:
    """The documents of a file of ids, which the tokenizer's end of text parts where no index does."""
    file = open_token_file(path)
    for document in file.documents(None if tokenizer is None else tokenizer.eos_id):
        _check_ids(document, tokenizer)
        yield Encoded(document.id, "", str(path), 0, {}, document, file.ids.itemsize)


def _check_ids(document: TokenDocument, tokenizer: Tokenizer | None) -> None:
    if tokenizer is not None and len(document.tokens) and document.tokens.max() >= tokenizer.vocab_size:
        raise DataError(
            f"{document.where}: id {document.tokens.max()} is beyond the tokenizer's "
            f"{tokenizer.vocab_size:,} ids",
            hint="give the tokenizer that encoded these documents",
        )


def _needs_tokenizer(where: str, found: Iterable[str]) -> UsageError:
    keys = f' (no "tokens"; found: {", ".join(found)})' if found else ""
    return UsageError(
        f"{where}: text needs a tokenizer to be encoded with{keys}",
        hint="add -t TOKENIZER, or pipe through llmkit tokenize -t TOKENIZER --jsonl",
    )
