"""Documents encoded in batches have the ids of a bare encode, in order, with nothing read too early."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from llmkit.errors import ConfigError, DataError
from llmkit.formats.documents import Document
from llmkit.tokens.cuts import safe_places
from llmkit.tokens.encode import PIECE_CHARS, EncodeOptions, encode_documents, encode_pairs
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def documents(texts: list[str]) -> list[Document]:
    return [Document(str(number), text, "x.jsonl", number + 1) for number, text in enumerate(texts)]


TEXTS = ["", "one", LICENSE * 12, "two words", *LICENSE.splitlines(), "日本語 🙂 " * 9000]


@pytest.mark.parametrize("threads", [None, 1, 3])
@pytest.mark.parametrize("batch_bytes", [1, 5000, 1 << 20])
def test_ids_are_those_of_a_bare_encode_in_order(
    tokenizer: Tokenizer, batch_bytes: int, threads: int | None
) -> None:
    options = EncodeOptions(batch_bytes=batch_bytes, threads=threads)
    done = list(encode_documents(tokenizer, documents(TEXTS), options))
    assert [document.id for document in done] == [str(number) for number in range(len(TEXTS))]
    assert len(LICENSE * 12) > 3 * PIECE_CHARS
    for document, text in zip(done, TEXTS, strict=True):
        assert document.tokens.dtype == np.uint32
        assert document.tokens.tolist() == tokenizer.backend.encode(text, add_special_tokens=False).ids


def test_bos_and_eos_stand_once_around_a_document_of_many_pieces(tokenizer: Tokenizer) -> None:
    for text in (LICENSE * 12, ""):
        (document,) = encode_documents(tokenizer, documents([text]), EncodeOptions(bos=True, eos=True))
        inner = tokenizer.backend.encode(text).ids
        assert document.tokens.tolist() == [tokenizer.bos_id, *inner, tokenizer.eos_id]


def test_a_missing_bos_is_a_config_error(byte_level_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((byte_level_dir / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no bos token"):
        list(encode_documents(load_tokenizer(tmp_path), documents(["a"]), EncodeOptions(bos=True)))


def test_no_more_is_read_than_a_few_batches(tokenizer: Tokenizer) -> None:
    read = 0

    def reading() -> Iterator[Document]:
        nonlocal read
        for document in documents(["four"] * 1000):
            read += 1
            yield document

    done = encode_documents(tokenizer, reading(), EncodeOptions(batch_bytes=40, threads=1))
    next(done)
    assert read <= 40  # 10 documents a batch: one done, two ahead, one begun


def test_without_look_ahead_a_result_comes_before_the_next_document_is_read(tokenizer: Tokenizer) -> None:
    read: list[str] = []

    def reading() -> Iterator[Document]:
        for document in documents(["a", "b", "c"]):
            read.append(document.text)
            yield document

    options = EncodeOptions(batch_bytes=1, read_ahead=False)
    seen = []
    for document, _ in encode_pairs(tokenizer, reading(), options):
        seen.append(document.text)
        assert read == seen


def test_a_text_that_looks_like_a_special_token_is_text_unless_allowed(tokenizer: Tokenizer) -> None:
    special = tokenizer.id_of("<|endoftext|>")
    (plain,) = encode_documents(tokenizer, documents(["a<|endoftext|>b"]))
    assert special not in plain.tokens
    assert tokenizer.decode(plain.tokens.tolist()) == "a<|endoftext|>b"
    allowing = EncodeOptions(special=lambda document: True)
    (parsed,) = encode_documents(tokenizer, documents(["a<|endoftext|>b"]), allowing)
    assert parsed.tokens.tolist().count(special) == 1


def test_the_policy_can_differ_from_document_to_document(tokenizer: Tokenizer) -> None:
    special = tokenizer.id_of("<|endoftext|>")
    options = EncodeOptions(special=lambda document: document.id in "13")
    pairs = encode_pairs(tokenizer, documents(["<|endoftext|>"] * 5), options)
    assert [special in ids for _, ids in pairs] == [False, True, False, True, False]


def test_an_error_while_reading_comes_out(tokenizer: Tokenizer) -> None:
    def reading() -> Iterator[Document]:
        yield from documents(["a"])
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(encode_documents(tokenizer, reading()))


@pytest.mark.parametrize("name", ["gpt2", "llama2", "t5-small", "phi-3-mini"])
def test_published_tokenizers_agree_with_a_bare_encode(shared_data: Path, name: str) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    texts = [LICENSE * 4, "Grüße, 世界!\n\n  x", " leading", ""]
    for document, text in zip(encode_documents(tokenizer, documents(texts)), texts, strict=True):
        assert document.tokens.tolist() == tokenizer.backend.encode(text, add_special_tokens=False).ids


def word_level() -> tokenizers.Tokenizer:
    """Knows "a" only, and is asked each time."""
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    return backend


def byte_level() -> tokenizers.Tokenizer:
    """Knows "a" only, and its words are remembered."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [], unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert safe_places(backend) is not None
    return backend


@pytest.mark.parametrize("backend", [word_level, byte_level])
@pytest.mark.parametrize("threads", [None, 2])
def test_a_text_that_the_vocabulary_has_no_token_for_is_named(
    threads: int | None, backend: Callable[[], tokenizers.Tokenizer]
) -> None:
    texts = ["aa"] * 5 + ["ab"] + ["aa"] * 3
    with pytest.raises(DataError, match=r"x\.jsonl:6: the tokenizer cannot encode this"):
        list(encode_documents(Tokenizer(backend()), documents(texts), EncodeOptions(threads=threads)))
