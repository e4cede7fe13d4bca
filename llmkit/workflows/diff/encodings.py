"""The same texts through two tokenizers: which get other ids, and from where on."""

from collections.abc import Iterator
from itertools import tee
from pathlib import Path

import msgspec
import numpy as np

from llmkit.formats.documents import Document, read_documents
from llmkit.formats.token_documents import TokenIds
from llmkit.progress import Progress
from llmkit.tokens.encode import EncodeOptions, encode_pairs
from llmkit.tokens.tokenizer import Tokenizer

_AROUND = 4


class TextDiff(msgspec.Struct, frozen=True, kw_only=True):
    """A text that the two encode differently."""

    where: str
    id: str
    tokens_a: int
    tokens_b: int
    first: int
    """The first position with another id, or where one ends."""
    pieces_a: list[str]
    """From there on, a few tokens as the vocabulary stores them."""
    pieces_b: list[str]


class EncodingsDiff(msgspec.Struct, frozen=True, kw_only=True):
    """All texts together."""

    texts: int
    differing: int
    tokens_a: int
    tokens_b: int
    changed: list[TextDiff]


def diff_encodings(
    a: Tokenizer, b: Tokenizer, paths: tuple[Path, ...], *, progress: Progress
) -> EncodingsDiff:
    """Encode documents with both; text that looks like a special token is taken as text.

    Raises:
        MissingError, DataError: a file is not there, or holds no text.
    """
    counts = [0, 0]
    texts = 0
    changed = []
    for document, ids_a, ids_b in _encoded(a, b, paths):
        progress.update(texts)
        texts += 1
        counts[0] += len(ids_a)
        counts[1] += len(ids_b)
        if not np.array_equal(ids_a, ids_b):
            changed.append(_text_diff(a, b, document, ids_a, ids_b))
    return EncodingsDiff(
        texts=texts, differing=len(changed), tokens_a=counts[0], tokens_b=counts[1], changed=changed
    )


def _encoded(
    a: Tokenizer, b: Tokenizer, paths: tuple[Path, ...]
) -> Iterator[tuple[Document, TokenIds, TokenIds]]:
    """Each document with the ids of both; what one has read and the other has not is kept meanwhile."""
    documents = tee(read_documents(paths), 2)
    options = EncodeOptions()
    left, right = encode_pairs(a, documents[0], options), encode_pairs(b, documents[1], options)
    for (document, ids_a), (_, ids_b) in zip(left, right, strict=True):
        yield document, ids_a, ids_b


def _text_diff(a: Tokenizer, b: Tokenizer, document: Document, ids_a: TokenIds, ids_b: TokenIds) -> TextDiff:
    shared = min(len(ids_a), len(ids_b))
    unlike = np.flatnonzero(ids_a[:shared] != ids_b[:shared])
    first = int(unlike[0]) if len(unlike) else shared
    return TextDiff(
        where=document.where,
        id=document.id,
        tokens_a=len(ids_a),
        tokens_b=len(ids_b),
        first=first,
        pieces_a=[a.token_text(int(one)) for one in ids_a[first : first + _AROUND]],
        pieces_b=[b.token_text(int(one)) for one in ids_b[first : first + _AROUND]],
    )
