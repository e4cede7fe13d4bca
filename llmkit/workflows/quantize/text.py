"""Rows of ids of one length: the text that `llmkit quantize` weighs errors by, and that which it scores."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmkit.errors import DataError
from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.boundary import markers_of
from llmkit.tokens.encode import encode_documents
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.input import read_texts

MOST_TOKENS = 1 << 22
"""Read of a text to choose rows from: a few seconds' work."""


def choose_rows(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    *,
    seq_len: int,
    counts: Sequence[int],
    seed: int,
    vocab_size: int,
) -> list[Tensor]:
    """Rows drawn at random from all over a text, the same for the same seed.

    Of each kind (N, T) int64, in the order in which they stand in the text.

    Args:
        paths: documents: text, jsonl with text or messages; `-` is stdin.
        tokenizer: the model's.
        seq_len: tokens of a row.
        counts: how many rows of each kind are wanted; no row is of two kinds. Where the text is short, each
            kind gets its share, the first at least one.
        seed: of the draw.
        vocab_size: of the model.

    Raises:
        MissingError, DataError: see `read_texts`; also a text shorter than a row for each kind, or a
            tokenizer with more ids than the model has.
    """
    rows = list(_rows(paths, tokenizer, seq_len))
    name = ", ".join(map(str, paths))
    if len(rows) < len(counts):
        raise DataError(
            f"{name}: {len(rows) * seq_len:,} tokens in whole rows of {seq_len}: too few",
            hint="give more text, or a shorter --seq-len",
        )
    wanted = list(counts)
    if sum(wanted) > len(rows):
        share = len(rows) / sum(wanted)
        wanted = [max(1, int(count * share)) for count in wanted]
        wanted[0] = len(rows) - sum(wanted[1:])
    drawn = random.Random(seed).sample(range(len(rows)), sum(wanted))
    found: list[Tensor] = []
    for count in wanted:
        places, drawn = sorted(drawn[:count]), drawn[count:]
        ids = torch.from_numpy(np.stack([rows[place] for place in places]).astype(np.int64))
        if int(ids.max()) >= vocab_size:
            raise DataError(
                f"{name}: its tokenizer gives id {int(ids.max())}, the model has {vocab_size}",
                hint="name the model's own tokenizer with -t",
            )
        found.append(ids)
    return found


def _rows(paths: Sequence[Path], tokenizer: Tokenizer, seq_len: int) -> Iterator[TokenIds]:
    """Whole rows of documents end to end, each between the markers that the tokenizer has."""
    markers = markers_of("auto", tokenizer)
    texts = read_texts(paths, tokenizer, field="text", generation_prompt=False, on_bad=None)
    held: list[TokenIds] = []
    length = read = 0
    for document in encode_documents(tokenizer, texts):
        ids, _ = markers.around(document)
        held.append(ids)
        length += len(ids)
        if length >= seq_len:
            whole = np.concatenate(held)
            cut = length // seq_len * seq_len
            yield from whole[:cut].reshape(-1, seq_len)
            held, length, read = [whole[cut:]], length - cut, read + cut
        if read >= MOST_TOKENS:
            return
