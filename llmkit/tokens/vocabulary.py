"""vocab.json + merges.txt: the older form of GPT-2's and Qwen 2's byte-level tokenizers."""

from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE

from llmkit.errors import ConfigError, DataError
from llmkit.formats.jsonl import MALFORMED
from llmkit.formats.text_file import read_text_file
from llmkit.tokens.patterns import GPT2, QWEN2, byte_level
from llmkit.tokens.pieces import byte_characters
from llmkit.tokens.post import add_around
from llmkit.tokens.tokenizer import token_content

PATTERNS = {"GPT2Tokenizer": GPT2, "CodeGenTokenizer": GPT2, "Qwen2Tokenizer": QWEN2}
"""The expression of each tokenizer_class; the form itself does not say it."""


def read_vocabulary(vocabulary_file: Path, merges_file: Path, config: dict[str, Any]) -> Tokenizer:
    """A byte-level tokenizer.

    Args:
        vocabulary_file: {"piece": id, …}.
        merges_file: two pieces a line, in the order of merging; a first line `#version` is passed over.
        config: tokenizer_config.json; its tokenizer_class says how text is cut. Without one: GPT-2's way.

    Raises:
        ConfigError: a tokenizer_class that cuts text in another way.
        DataError: a damaged file.
    """
    kind = str(config.get("tokenizer_class", "GPT2Tokenizer")).removesuffix("Fast")
    if kind not in PATTERNS:
        raise ConfigError(
            f"{vocabulary_file}: how {kind} cuts text is not known",
            hint=f"known: {', '.join(PATTERNS)}; for others use the model's tokenizer.json",
        )
    vocabulary = _read_pieces(vocabulary_file)
    listed = config.get("added_tokens_decoder") or {}
    vocabulary |= {value["content"]: int(index) for index, value in listed.items()}
    backend = byte_level(BPE(vocab=vocabulary, merges=_read_merges(merges_file)), PATTERNS[kind])
    if kind == "Qwen2Tokenizer":
        backend.normalizer = normalizers.NFC()
    bos = token_content(config.get("bos_token")) if config.get("add_bos_token") else None
    if bos in vocabulary:
        add_around(backend, bos, None)
    return backend


def _read_pieces(file: Path) -> dict[str, int]:
    try:
        vocabulary = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
    except MALFORMED as error:
        raise DataError(f"{file}: not pieces with their ids ({error})", hint="fetch the file again") from None
    missing = next((one for one in byte_characters() if one not in vocabulary), None)
    if missing is not None:
        raise DataError(
            f"{file}: not a byte-level vocabulary (no piece {missing!r})",
            hint="use the model's tokenizer.json",
        )
    return vocabulary


def _read_merges(file: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(read_text_file(file, hint="fetch the file again").split("\n"), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.rstrip("\r").partition(" ")
        if not left or not right or " " in right:
            raise DataError(
                f"{file}:{number}: not two pieces (found {line[:40]!r})", hint="fetch the file again"
            )
        merges.append((left, right))
    return merges
