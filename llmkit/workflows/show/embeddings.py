"""The embedding table of a model: how long its rows are, what lies near a token, what was never trained."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from llmkit.model.lazy_weights import LazyWeights
from llmkit.probe.embeddings import NEVER_IN_TEXT, nearest, row_lengths, unused_rows
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.artefact import holds_tokenizer
from llmkit.workflows.show.token import find_token, token_label

_EMBEDDING = "model.embed_tokens.weight"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the table."""

    id: int
    text: str
    length: float
    """Euclidean, of its row."""


class NeighbourRow(Row, frozen=True, kw_only=True):
    """A token near another."""

    cosine: float


class UnusedRow(Row, frozen=True, kw_only=True):
    """A token that looks as if it was never trained."""

    sign: str
    """See `llmkit.probe.embeddings`."""


class EmbeddingsReport(msgspec.Struct, frozen=True, kw_only=True):
    """An embedding table, looked at."""

    schema: str = "llmkit.show-embeddings/1"
    path: str
    vocab_size: int
    hidden_size: int
    dtype: str
    tied: bool
    """Whether the head is the same table."""
    length_min: float
    length_median: float
    length_max: float
    longest: list[Row]
    shortest: list[Row]
    """Without those of no length."""
    token: Row | None
    neighbours: list[NeighbourRow]
    """Of the token, the closest first."""
    unused: list[UnusedRow]
    unused_by_sign: dict[str, int]


def show_embeddings(path: Path, token: str | None, tokenizer: Path | None, *, top: int) -> EmbeddingsReport:
    """Look at a model's embeddings.

    Args:
        path: a model folder or a GGUF file.
        token: whose neighbours to find: its text, its piece or id:N.
        tokenizer: in place of the model's own.
        top: neighbours, longest and shortest rows.

    Raises:
        MissingError, ConfigError, DataError: see `LazyWeights` and `load_tokenizer`.
        UsageError: no such token.
    """
    weights = LazyWeights(path)
    words = _tokenizer(path, tokenizer)
    table = weights.read([_EMBEDDING])[_EMBEDDING]
    lengths = row_lengths(table)
    config = weights.config
    found = unused_rows(table, lengths, **_known(words, config.vocab_size))
    order = lengths.argsort().tolist()
    chosen = None if token is None else find_token(words, token, config.vocab_size)

    def row(one: int) -> Row:
        return Row(id=one, text=token_label(words, one), length=float(lengths[one]))

    near = [] if chosen is None else nearest(table, lengths, chosen, top)
    return EmbeddingsReport(
        path=str(path),
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        dtype=weights.dtype(_EMBEDDING),
        tied=config.tie_word_embeddings,
        length_min=float(lengths.min()),
        length_median=float(lengths.median()),
        length_max=float(lengths.max()),
        longest=[row(one) for one in order[::-1][:top]],
        shortest=[row(one) for one in order if lengths[one] > 0][:top],
        token=None if chosen is None else row(chosen),
        neighbours=[
            NeighbourRow(id=one.id, text=token_label(words, one.id), length=one.length, cosine=one.cosine)
            for one in near
        ],
        unused=[
            UnusedRow(id=one.id, text=token_label(words, one.id), length=one.length, sign=one.sign)
            for one in found
        ],
        unused_by_sign=dict(Counter(one.sign for one in found)),
    )


def _known(words: Tokenizer | None, vocab_size: int) -> dict[str, Any]:
    """What a tokenizer knows of ids that no text can contain."""
    if words is None:
        return {}
    single = {one: words.token_bytes(one) for one in range(vocab_size) if words.token_text(one)}
    unreachable = [one for one in range(vocab_size) if one not in single]
    unreachable += [
        one for one, content in single.items() if len(content) == 1 and content[0] in NEVER_IN_TEXT
    ]
    return {"has_token": single.__contains__, "unreachable": unreachable}


def _tokenizer(path: Path, given: Path | None) -> Tokenizer | None:
    """The one that was named, else the model's own, else none."""
    if given is None and not holds_tokenizer(path):
        return None
    return load_tokenizer(given or path)
