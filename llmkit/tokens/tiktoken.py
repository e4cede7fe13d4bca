"""tiktoken rank tables (`cl100k_base.tiktoken`): a line for each token, its bytes in base64 and its rank.

The rank is the id, and the order of merging too: of all neighbours that join to a known token, those that
make the one of lowest rank join first. `tokenizers` wants each merge spelt out; they are worked out here.
"""

import base64
import binascii
from dataclasses import dataclass
from itertools import pairwise

from tokenizers import Tokenizer
from tokenizers.models import BPE

from llmkit.errors import DataError
from llmkit.tokens.patterns import GPT2, GPT4, byte_level, special_token
from llmkit.tokens.pieces import spell

END = "<|endoftext|>"


@dataclass(frozen=True)
class Encoding:
    """What a rank table leaves out: how text is cut, and the special tokens with their ids."""

    size: int
    """Ranks in the table."""
    pattern: str
    special: dict[str, int]


KNOWN = {
    "r50k_base": Encoding(50_256, GPT2, {END: 50_256}),
    "p50k_base": Encoding(50_280, GPT2, {END: 50_256}),
    "cl100k_base": Encoding(
        100_256,
        GPT4,
        {
            END: 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
}
"""Source: openai/tiktoken `tiktoken_ext/openai_public.py`."""


def read_tiktoken(content: bytes, name: str) -> Tokenizer:
    """A rank table as a byte-level tokenizer.

    Args:
        content: of the file.
        name: of the file, for messages. The encoding is told by its first part, else by the number of ranks.

    Raises:
        DataError: a damaged table, or one whose pattern is not known.
    """
    ranks = read_ranks(content, name)
    stem = name.rpartition("/")[2].partition(".")[0]
    encoding = KNOWN.get(stem) or next((one for one in KNOWN.values() if one.size == len(ranks)), None)
    if encoding is None:
        raise DataError(
            f"{name}: a rank table that is not known (found {len(ranks)} ranks)",
            hint=f"known: {', '.join(KNOWN)}; for others use the model's tokenizer.json",
        )
    vocabulary = {spell(token): rank for token, rank in ranks.items()} | encoding.special
    merges = [(spell(left), spell(right)) for left, right in reconstruct_merges(ranks)]
    # ignore_merges: a word that is a token is that token, as tiktoken has it
    backend = byte_level(BPE(vocab=vocabulary, merges=merges, ignore_merges=True), encoding.pattern)
    backend.add_special_tokens([special_token(content) for content in encoding.special])
    return backend


def read_ranks(content: bytes, name: str) -> dict[bytes, int]:
    """Each token's rank.

    Raises:
        DataError: a line that is not base64 and a number, or a byte without a token.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            found = line[:40].decode(errors="replace")
            raise DataError(
                f"{name}:{number}: not a token in base64 and its rank (found {found})",
                hint="fetch the rank table again",
            ) from None
    missing = next((byte for byte in range(256) if bytes([byte]) not in ranks), None)
    if missing is not None:
        raise DataError(f"{name}: no token for byte 0x{missing:02x}", hint="fetch the rank table again")
    return ranks


def reconstruct_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two parts that each token of two or more bytes was merged from, in the order of ranks."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _merge_below(token, rank, ranks)
            if len(parts) == 2:  # otherwise no merge makes it: it only matches as a whole word
                merges.append((parts[0], parts[1]))
    return merges


def _merge_below(token: bytes, limit: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The parts of a token after every merge of a rank below `limit`."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        found = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        best = min(found)
        if best >= limit:
            break
        index = found.index(best)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts
