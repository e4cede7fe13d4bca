"""Special tokens in a document's text are text."""

from pathlib import Path

import pytest
from tokenizers import AddedToken

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend, parsing_backend


def test_the_original_backend_still_reads_special_tokens(byte_level_dir: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    special = tokenizer.id_of("<|im_end|>")
    assert special not in ordinary_backend(tokenizer).encode("<|im_end|>").ids
    assert parsing_backend(tokenizer).encode("<|im_end|>").ids == [special]


def test_ids_agree_with_tiktoken_encode_ordinary(shared_data: Path) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    ranks = load_tiktoken_bpe(str(shared_data / "tokenizers/tiktoken/r50k_base.tiktoken"))
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    peer = tiktoken.Encoding(
        "gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256}
    )
    backend = ordinary_backend(load_tokenizer(shared_data / "tokenizers/gpt2"))
    for text in ("a <|endoftext|> b", "<|endoftext|>", "<|endoftext", "don't  stop\n\n 12345 🙂"):
        assert backend.encode(text).ids == peer.encode_ordinary(text)


@pytest.mark.parametrize("gap", [False, True])
def test_added_tokens_that_are_not_special_keep_their_ids(byte_level_dir: Path, gap: bool) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    if gap:  # an id between the vocabulary and the plain token belongs to a special one
        tokenizer.backend.add_special_tokens(["<|late|>"])
    tokenizer.backend.add_tokens([AddedToken("<plain>", special=False)])
    wanted = tokenizer.backend.token_to_id("<plain>")
    ids = ordinary_backend(tokenizer).encode("x<plain><|im_end|><|late|>").ids
    assert wanted in ids
    assert tokenizer.id_of("<|im_end|>") not in ids
    assert tokenizer.backend.token_to_id("<|late|>") not in ids


@pytest.mark.parametrize("name", ["t5-small", "sentencepiece-unigram-1k"])
def test_a_unigram_model_does_not_choose_special_pieces_either(shared_data: Path, name: str) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    text = "one </s> two <unk> </s>"
    special = {tokenizer.id_of("</s>")}
    assert special & set(tokenizer.backend.encode(text, add_special_tokens=False).ids)
    assert not special & set(ordinary_backend(tokenizer).encode(text).ids)
    plain = "Two words, three: x7 überall.\n\nEnd"
    wanted = tokenizer.backend.encode(plain, add_special_tokens=False).ids
    assert ordinary_backend(tokenizer).encode(plain).ids == wanted
