"""Where a document begins and ends among others: the tokens put around it, and what of it carries loss."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.errors import UsageError
from llmkit.formats.token_documents import TokenDocument, TokenIds
from llmkit.tokens.config import Boundary
from llmkit.tokens.encode import required_id
from llmkit.tokens.tokenizer import Tokenizer

Int64s = NDArray[np.int64]
_NO_RUNS: Int64s = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class Markers:
    """Ids put before and after each document; None: nothing."""

    bos: int | None = None
    eos: int | None = None

    @property
    def name(self) -> Boundary:
        """As --boundary calls them."""
        if self.bos is None:
            return "none" if self.eos is None else "eos"
        return "bos" if self.eos is None else "both"

    def around(self, document: TokenDocument) -> tuple[TokenIds, Int64s]:
        """A document between its markers, each put only where it is not there already.

        Returns:
            The ids, and (n, 2) start and length of each run without loss. A marker that is put there carries
            loss where the token beside it does: an end is learnt with the answer that it ends.
        """
        tokens = document.tokens
        if not len(tokens):
            return tokens, _NO_RUNS
        bos = None if tokens.item(0) == self.bos else self.bos
        eos = None if tokens.item(-1) == self.eos else self.eos
        before, after = int(bos is not None), int(eos is not None)
        if before or after:
            whole = np.empty(before + len(tokens) + after, np.uint32)
            whole[before : before + len(tokens)] = tokens
            if bos is not None:
                whole[0] = bos
            if eos is not None:
                whole[-1] = eos
            tokens = whole
        return tokens, _silent_runs(document, before, after)


def markers_of(boundary: Boundary, tokenizer: Tokenizer | None) -> Markers:
    """The markers that --boundary stands for: `auto` takes those that the tokenizer has.

    Raises:
        UsageError: one is asked for and there is no tokenizer.
        ConfigError: one is asked for and the tokenizer has none.
    """
    if boundary == "none" or (boundary == "auto" and tokenizer is None):
        return Markers()
    if tokenizer is None:
        raise UsageError(
            f"--boundary {boundary} needs a tokenizer, to know which ids these are", hint="add -t TOKENIZER"
        )
    if boundary == "auto":
        return Markers(tokenizer.bos_id, tokenizer.eos_id)
    return Markers(
        bos=required_id(tokenizer.bos_id, "bos") if boundary in ("bos", "both") else None,
        eos=required_id(tokenizer.eos_id, "eos") if boundary in ("eos", "both") else None,
    )


def _silent_runs(document: TokenDocument, before: int, after: int) -> Int64s:
    if document.mask is None:
        return _NO_RUNS
    learnt = np.zeros(len(document.tokens), bool)
    for start, length in document.mask:
        learnt[start : start + length] = True
    learnt = np.pad(learnt, (before, after), mode="edge")
    edges = np.flatnonzero(np.diff(~learnt, prepend=False, append=False))  # begin, end, begin, end, …
    return np.stack([edges[::2], edges[1::2] - edges[::2]], axis=1)
