"""Bytes of texts of which only ids are at hand: those that the texts really have."""

from pathlib import Path

import numpy as np
import pytest

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.text_sizes import TextSizes

TEXTS = ["cat sat", "\n\nnew", "Ünï 日本 😀 x", "x\nHello two"]
FOLDERS = [
    "models/stories260K",
    *(f"tokenizers/{name}" for name in ("gpt2", "llama2", "phi-3-mini", "qwen2")),
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_texts_between_special_tokens_have_their_own_bytes(shared_data: Path, folder: str) -> None:
    tokenizer = load_tokenizer(shared_data / folder)
    special = tokenizer.eos_id
    assert special is not None
    ids = np.array([one for text in TEXTS for one in (special, *tokenizer.encode(text))])
    sizes = TextSizes.of_tokenizer(tokenizer)
    opens = np.concatenate([[False], sizes.opens_after(ids[:-1])])
    assert sizes.total(ids, opens) == sum(len(text.encode()) for text in TEXTS)


def test_a_space_within_a_text_counts_and_the_tokenizers_own_before_it_does_not(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "llama2")
    ids = np.array(tokenizer.encode("cat cat"))
    sizes = TextSizes.of_tokenizer(tokenizer)
    assert ids[0] == ids[1] and sizes.behind[ids].tolist() == [4, 4]
    assert sizes.total(ids, np.array([True, False])) == 7
    assert sizes.total(ids, np.array([False, False])) == 8


def test_a_byte_level_space_is_the_texts_own(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "gpt2")
    ids = np.array(tokenizer.encode(" cat"))
    assert TextSizes.of_tokenizer(tokenizer).total(ids, np.array([True])) == 4


@pytest.mark.parametrize("vocab_size", [5, 40_000])
def test_ids_go_as_far_as_the_models(shared_data: Path, vocab_size: int) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / "llama2")
    sizes = TextSizes.of_tokenizer(tokenizer, vocab_size)
    assert len(sizes.behind) == vocab_size and sizes.own_space is not None
    assert len(sizes.own_space) == vocab_size
    known = tokenizer.byte_lengths[:vocab_size]
    assert (sizes.behind[: len(known)] == known).all() and not sizes.behind[len(known) :].any()


def test_a_mean_is_the_same_for_all_ids_and_nothing_opens_after_any() -> None:
    sizes, ids = TextSizes.mean(2.5, 3), np.array([0, 2, 2])
    assert sizes.total(ids, sizes.opens_after(ids)) == 7.5
    assert not sizes.opens_after(ids).any()
