"""Byte and character ranges of tokens."""

from pathlib import Path

import pytest

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.spans import Spans, pad_spans, token_spans

TEXTS = ["", "a", "Hello  wörld", "日本語🙂\n\tx", "e\u0301 ﬁ ½", "don't stop", "\u200d🏳️‍🌈"]


def spans_of(path: Path, text: str) -> tuple[Spans, list[int], object]:
    tokenizer = load_tokenizer(path)
    backend = ordinary_backend(tokenizer)
    encoding = backend.encode_batch_fast([text], add_special_tokens=False)[0]
    import numpy as np

    ids = np.array(encoding.ids, dtype=np.uint32)
    return token_spans(tokenizer, backend, text, ids), encoding.ids, tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_byte_ranges_hold_exactly_each_tokens_bytes(byte_level_dir: Path, text: str) -> None:
    spans, ids, tokenizer = spans_of(byte_level_dir, text)
    content = text.encode()
    parts = [content[start:end] for start, end in spans.bytes.tolist()]
    assert parts == [tokenizer.token_bytes(token) for token in ids]  # type: ignore[attr-defined]
    assert b"".join(parts) == content


@pytest.mark.parametrize("text", TEXTS)
def test_character_ranges_are_those_of_the_tokenizers_library(byte_level_dir: Path, text: str) -> None:
    spans, _, tokenizer = spans_of(byte_level_dir, text)
    offsets = ordinary_backend(tokenizer).encode(text).offsets  # type: ignore[arg-type]
    assert [tuple(pair) for pair in spans.chars.tolist()] == offsets


@pytest.mark.parametrize("name", ["gpt2", "llama2", "t5-small"])
@pytest.mark.parametrize("text", TEXTS)
def test_ranges_of_published_tokenizers_lie_in_the_text_and_agree(
    shared_data: Path, name: str, text: str
) -> None:
    spans, ids, _ = spans_of(shared_data / "tokenizers" / name, text)
    assert len(spans) == len(ids)
    content = text.encode()
    for (byte_start, byte_end), (start, end) in zip(spans.bytes.tolist(), spans.chars.tolist(), strict=True):
        assert 0 <= start <= end <= len(text)
        covered = text[start:end].encode()
        assert content[byte_start:byte_end] in covered or byte_start == byte_end
        assert len(text[:start].encode()) <= byte_start


def test_llama2s_added_space_belongs_to_no_character(shared_data: Path) -> None:
    spans, _, _ = spans_of(shared_data / "tokenizers/llama2", "Hello you")
    assert spans.bytes.tolist() == [[0, 5], [5, 9]]


def test_bos_and_eos_have_empty_ranges_at_the_ends(byte_level_dir: Path) -> None:
    spans, ids, _ = spans_of(byte_level_dir, "日本")
    padded = pad_spans(spans, "日本", bos=True, eos=True)
    assert len(padded) == len(ids) + 2
    assert padded.bytes[0].tolist() == [0, 0]
    assert padded.bytes[-1].tolist() == [6, 6]
    assert padded.chars[-1].tolist() == [2, 2]
