"""Streaming beside decoding everything at once, for every tokenizer of the shared data."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.stream import REPLACEMENT, StreamDecoder
from llmkit.tokens.tokenizer import Tokenizer

FORMS = (
    *("tokenizers/gpt2", "tokenizers/llama2", "tokenizers/phi-3-mini", "tokenizers/t5-small"),
    *("tokenizers/qwen2", "tokenizers/sentencepiece-unigram-1k", "tokenizers/tiktoken/cl100k_base.tiktoken"),
    *("models/char-gpt-shakespeare", "models/induction-2l1h", "models/stories260K"),
)
BYTE_FALLBACK = {"llama2", "phi-3-mini", "stories260K"}
TEXTS = (
    *("Hello world", " leading and  double  spaces ", "x", "", "   ", "tabs\tand\n\n\nlines\r\n"),
    *("日本語 и кириллица", "👨‍👩‍👧 a\u0301 🙂", "<s> </s> <|endoftext|> <|im_end|>", "don't  stop…"),
)


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: Path(form).stem)
def tokenizer(request: pytest.FixtureRequest, shared_data: Path) -> Tokenizer:
    return load_tokenizer(shared_data / request.param)


def _stream(tokenizer: Tokenizer, ids: Iterable[int], *, skip: bool = False) -> str:
    decoder = StreamDecoder(tokenizer, skip_special=skip)
    return "".join([*map(decoder.push, ids), decoder.flush()])


@pytest.mark.parametrize("skip", [False, True])
def test_pushes_and_flush_are_decode_for_any_text(tokenizer: Tokenizer, skip: bool) -> None:
    pieces = len(tokenizer.backend.get_vocab()) > 100  # a vocabulary of letters knows few texts
    for text in TEXTS if pieces else ("abcab", "."):
        for around in (False, True):
            ids = tokenizer.encode(text, special_tokens=around)
            assert _stream(tokenizer, ids, skip=skip) == tokenizer.decode(ids, skip_special=skip)


def test_pushes_and_flush_are_decode_for_any_ids(
    tokenizer: Tokenizer, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(0)
    awkward = [
        one
        for one in range(tokenizer.vocab_size)
        if tokenizer.token_bytes(one)[:1] in (b" ", b"\xe2", b"\x80") or len(tokenizer.token_bytes(one)) < 2
    ]
    special = [
        *tokenizer.backend.get_added_tokens_decoder(),
        tokenizer.vocab_size + 1,
    ]  # and an id of nothing
    has_fallback = any(name in request.node.name for name in BYTE_FALLBACK)
    for _ in range(800):
        ids = chance.choices(awkward[:500] + special * 3, k=chance.randint(1, 9))
        skip = chance.random() < 0.5
        expected, found = tokenizer.decode(ids, skip_special=skip), _stream(tokenizer, ids, skip=skip)
        if has_fallback and REPLACEMENT in expected:  # there the library gives up more than the broken bytes
            assert found.count(REPLACEMENT) <= expected.count(REPLACEMENT)
        else:
            assert found == expected


def test_only_whole_characters_come_out_and_as_soon_as_they_are(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers/gpt2")
    decoder = StreamDecoder(tokenizer)
    ids = tokenizer.encode("é🙂日")
    bytes_so_far = b""
    for one in ids:
        before = bytes_so_far.decode(errors="ignore")
        bytes_so_far += tokenizer.token_bytes(one)
        assert decoder.push(one) == bytes_so_far.decode(errors="ignore").removeprefix(before)
    assert len(ids) > 4 and decoder.flush() == ""


def test_a_character_never_completed_is_marked_at_the_end(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers/gpt2")
    ids = tokenizer.encode("a🙂")[:-1]
    decoder = StreamDecoder(tokenizer)
    assert [decoder.push(one) for one in ids] == ["a", *[""] * (len(ids) - 1)]
    assert decoder.flush() == REPLACEMENT


@pytest.mark.parametrize(("name", "start"), [("llama2", True), ("t5-small", True), ("gpt2", False)])
def test_a_space_that_belongs_between_prompt_and_text_is_kept(
    name: str, start: bool, shared_data: Path
) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers" / name)
    prompt, word = tokenizer.encode("one two"), tokenizer.encode("one two three")[-1]
    assert StreamDecoder(tokenizer, after=prompt).push(word) == " three"
    assert StreamDecoder(tokenizer).push(word) == ("three" if start else " three")


def test_a_prompt_of_hidden_tokens_is_no_text_to_put_a_space_after(shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "tokenizers/llama2")
    bos, word = tokenizer.bos_id, tokenizer.encode("three")[-1]
    assert bos is not None
    assert StreamDecoder(tokenizer, after=[bos], skip_special=True).push(word) == "three"
    assert StreamDecoder(tokenizer, after=[bos]).push(word) == " three"


@pytest.mark.parametrize(
    ("decoder", "pieces", "text"),
    [
        (decoders.WordPiece(), ["un", "##friend", "##ly", "peer"], "unfriendly peer"),
        (decoders.BPEDecoder(suffix="</w>"), ["low", "er</w>", "new</w>"], "lower new"),
        (decoders.Strip("_", 1, 1), ["_a_", "_b_"], "ab"),
        (None, ["no", "decoder"], "no decoder"),
        (
            decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 2, 0)]),
            ["▁", "▁a", "▁b"],
            "a b",
        ),
        (
            decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip("_", 2, 0)]),
            ["__a", "<0xE2>", "<0x82>", "<0xAC>", "b"],
            "a€b",
        ),
    ],
    ids=["wordpiece", "suffixes", "strip both ends", "none", "strip two", "bytes"],
)
def test_vocabularies_whose_pieces_do_not_just_join_are_decoded_as_a_whole(
    decoder: object, pieces: list[str], text: str
) -> None:
    backend = Backend(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, "no"))
    if decoder is not None:
        backend.decoder = decoder
    tokenizer = Tokenizer(backend)
    ids = list(range(len(pieces)))
    assert tokenizer.decode(ids) == text
    stream = StreamDecoder(tokenizer)
    pushed = [stream.push(one) for one in ids]
    assert "".join(pushed) + stream.flush() == text and REPLACEMENT not in "".join(pushed)
    assert _stream(tokenizer, ids[:1]) == tokenizer.decode(ids[:1])
