"""What came of training a tokenizer: how well it compresses, what of it is never used, what it took."""

import heapq
from collections.abc import Mapping
from pathlib import Path

import msgspec

from llmkit.errors import GateFailed
from llmkit.tokens.compare import Tally
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.measure import WordMeasure
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.show.tokenizer import LONGEST, Piece, list_pieces
from llmkit.workflows.train_tokenizer.input import Reading


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One source of text."""

    source: str
    documents: int
    bytes: int
    bytes_per_token: float | None
    """Measured on a sample where the text is long; None where none of the sample is of this source."""


class TrainTokenizerReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of `llmkit train-tokenizer`."""

    schema: str = "llmkit.train-tokenizer/1"
    out: str
    sha256: str
    """Of tokenizer.json."""
    type: str
    pattern: str
    vocab_size: int
    wanted_vocab_size: int
    special_tokens: list[str]
    documents: int
    text_bytes: int
    trained_bytes: int
    is_sample: bool
    """Whether there was more text than --max-bytes."""
    bad_lines: int
    words: int
    """Different ones in the text trained on."""
    tokens: int
    """Of the text trained on."""
    bytes_per_token: float
    unused_tokens: int
    """Pieces, other than single bytes, that the text trained on never turns into."""
    longest: list[Piece]
    sources: list[SourceReport]
    """The largest first."""
    valid: list[SourceReport]
    valid_bytes_per_token: float | None
    memory_bytes: int
    """Predicted."""
    peak_memory_bytes: int
    """Measured, of the whole program."""
    train_seconds: float
    seconds: float


def sources_of(
    reading: Reading, measured: Mapping[str, Tally], words: WordMeasure | None = None
) -> list[SourceReport]:
    """A row for each source that was read; a single one is measured by all its words where they are given."""
    by_words = words if len(reading.sources) == 1 else None
    rows = []
    for source, totals in reading.sources.items():
        tally = measured.get(source, Tally())
        exact = by_words.bytes / by_words.tokens if by_words and by_words.tokens else None
        rows.append(
            SourceReport(
                source=source,
                documents=totals.documents,
                bytes=totals.bytes,
                bytes_per_token=_rounded(exact or tally.bytes_per_token),
            )
        )
    return sorted(rows, key=lambda row: (-row.bytes, row.source))


def bytes_per_token(measured: Mapping[str, Tally]) -> float | None:
    """Of several sources together; None without tokens."""
    tokens = sum(tally.tokens for tally in measured.values())
    return round(sum(tally.bytes for tally in measured.values()) / tokens, 4) if tokens else None


def unused_tokens(tokenizer: Tokenizer, config: TrainTokenizerConfig, used: frozenset[int]) -> int:
    """How many of the pieces that were learnt never occur."""
    return sum(one not in used for one in range(config.smallest_vocab, tokenizer.vocab_size))


def longest_pieces(tokenizer: Tokenizer) -> list[Piece]:
    """The pieces that stand for the most bytes."""
    pieces = (piece for piece in list_pieces(tokenizer) if not piece.special)
    return heapq.nsmallest(LONGEST, pieces, key=lambda piece: (-len(piece.hex), piece.id))


def check_gate(report: TrainTokenizerReport, minimum: float | None) -> None:
    """Whether text is compressed enough: the held-out text where there is some.

    Raises:
        GateFailed: it is not; the tokenizer is written all the same.
    """
    held_out = report.valid_bytes_per_token
    reached = report.bytes_per_token if held_out is None else held_out
    if minimum is not None and reached < minimum:
        where = "the text trained on" if held_out is None else "the held-out text"
        raise GateFailed(
            f"{Path(report.out)}: {reached:.3f} bytes a token on {where}, below {minimum:g}",
            hint=f"a larger vocabulary: --vocab-size {2 * report.vocab_size}",
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
