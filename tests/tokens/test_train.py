"""A trained tokenizer: against the library's own trainer, transformers, and the text it came from."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from llmkit.errors import ConfigError
from llmkit.tokens.chat import render_chat
from llmkit.tokens.config import BYTES, TrainTokenizerConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.parts import cut_parts
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.train import PATTERNS, Trained, check_special_tokens, train_tokenizer

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
TEXT = LICENSE + "Grüße aus 東京, naïve café 🙂\n\tif x == 12345:\r\n    return don't\n" * 5
ODD = [
    *(
        "",
        " ",
        "  leading",
        "trailing  ",
        "a  b\n\n\n c",
        "\t\r\n",
        "\0",
        "▁ is a mark",
        "Ġ is another",
        "\ufffd",
    ),
    *(
        "<0x41>",
        "<unk>",
        "<|endoftext|> <|im_start|>",
        "日本語🙂👩‍👩‍👧",
        "e\u0301 ≠ é",
        "½ ²",
        "12345678",
        "\u2028x\u00a0y",
    ),
]
KINDS = ["bpe", "unigram"]


def _train(text: str = TEXT, **config: Any) -> Trained:
    return train_tokenizer(cut_parts([text]), TrainTokenizerConfig(**{"vocab_size": 600, **config}))


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> Trained:
    return _train(type=request.param)


def _texts(count: int = 60) -> list[str]:
    """Strings of characters from all of Unicode."""
    chance = random.Random(0)
    planes = [(32, 127), (128, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    return [
        "".join(
            chr(chance.randint(*chance.choice(planes))) if chance.random() < 0.7 else " "
            for _ in range(chance.randint(1, 40))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("text", [*ODD, *_texts()])
def test_every_text_comes_back_as_it_was(trained: Trained, text: str) -> None:
    tokenizer = trained.tokenizer
    assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = ordinary_backend(tokenizer).encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@pytest.mark.parametrize("name", ["gpt2", "gpt4", "qwen2"])
def test_bpe_is_what_the_librarys_trainer_makes_of_the_whole_text(name: str) -> None:
    config = TrainTokenizerConfig(vocab_size=600)
    peer = tokenizers.Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    peer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        min_frequency=2,
        special_tokens=[AddedToken(one, special=True, normalized=False) for one in config.special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator([TEXT], trainer)
    ours = _train(pattern=name).tokenizer.backend
    assert json.loads(ours.to_str())["model"] == json.loads(peer.to_str())["model"]
    assert ours.encode(TEXT).ids[1:] == peer.encode(TEXT).ids


def test_ids_are_special_tokens_then_bytes_then_pieces(trained: Trained) -> None:
    tokenizer = trained.tokenizer
    special = [token.content for token in tokenizer.backend.get_added_tokens_decoder().values()]
    names = ["<|startoftext|>", "<|im_end|>", "<|pad|>", "<|im_start|>"]
    assert [token for token in special if token != "<unk>"] == names
    assert [tokenizer.id_of(token) for token in special] == list(range(len(special)))
    single = {tokenizer.token_bytes(one) for one in range(len(special), len(special) + BYTES)}
    assert single == {bytes([byte]) for byte in range(BYTES)}
    assert tokenizer.vocab_size == 600
    assert all(tokenizer.token_bytes(one) for one in range(600))


def test_a_prompt_begins_with_bos_and_ends_with_nothing(trained: Trained) -> None:
    tokenizer = trained.tokenizer
    assert tokenizer.encode("a b", special_tokens=True) == [tokenizer.bos_id, *tokenizer.encode("a b")]
    assert len({tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id} - {None}) == 3


def test_transformers_opens_the_folder_with_the_same_ids_and_chats(trained: Trained, tmp_path: Path) -> None:
    import transformers

    trained.tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (
        ours.bos_id,
        ours.eos_id,
        ours.pad_id,
    )
    assert len(theirs) == ours.vocab_size == 600
    for text in [*ODD, *_texts(10), TEXT]:
        assert theirs.encode(text) == ours.encode(text, special_tokens=True)
        assert theirs.decode(theirs.encode(text, add_special_tokens=False)) == text
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "grüße"}]
    rendered = theirs.apply_chat_template(chat, tokenize=False)
    assert rendered.startswith("<|startoftext|><|im_start|>user\nhi<|im_end|>\n")
    answer = theirs.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    ids = answer["input_ids"]
    assert ids == ours.encode(rendered)
    learnt = [one for one, is_learnt in zip(ids, answer["assistant_masks"], strict=True) if is_learnt]
    assert ours.decode(learnt) == "grüße<|im_end|>"


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_texts_changes_no_byte(kind: str) -> None:
    lines = [line for line in TEXT.split("\n") if line]
    config = TrainTokenizerConfig(type=kind, vocab_size=500)
    digests = set()
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        digests.add(train_tokenizer(iter(lines), config).tokenizer.sha256)
    assert len(digests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_no_byte(kind: str) -> None:
    script = f"""
import sys
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.parts import cut_parts
from llmkit.tokens.train import train_tokenizer
config = TrainTokenizerConfig(type="{kind}", vocab_size=500)
print(train_tokenizer(cut_parts([sys.stdin.read()]), config).tokenizer.sha256)
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            input=TEXT,
            env={"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert digests == {_train(type=kind, vocab_size=500).tokenizer.sha256 + "\n"}


def test_no_piece_crosses_a_cut_of_the_pattern(trained: Trained) -> None:
    cut = pre_tokenizers.Split(Regex(PATTERNS["gpt4"]), "isolated").pre_tokenize_str
    for token_id in range(trained.tokenizer.vocab_size):
        text = trained.tokenizer.token_bytes(token_id).decode(errors="ignore")
        if token_id not in trained.tokenizer.backend.get_added_tokens_decoder() and text:
            assert len(cut(text)) == 1


def test_the_words_are_those_that_the_pattern_cuts() -> None:
    cut = pre_tokenizers.Split(Regex(PATTERNS["gpt4"]), "isolated").pre_tokenize_str
    words = [word for word, _ in cut(TEXT)]
    counted = _train(type="unigram").words
    assert dict(counted) == {word: words.count(word) for word in set(words)}


def test_a_small_text_gives_fewer_ids_than_asked_for() -> None:
    for kind in KINDS:
        tokenizer = _train("hello hello", type=kind, vocab_size=5000).tokenizer
        assert tokenizer.vocab_size < 350
        assert len(tokenizer.encode("hello")) == 1


def test_settings_show_in_the_tokenizer() -> None:
    bare = _train(bos="none", eos="none", pad="none", chat=False, special=("<|a|>", "<|b|>")).tokenizer
    assert (bare.bos_id, bare.eos_id, bare.pad_id, bare.chat_template) == (None, None, None, None)
    assert (bare.id_of("<|a|>"), bare.id_of("<|b|>")) == (0, 1)
    assert bare.encode("a", special_tokens=True) == bare.encode("a")
    one = _train(bos="<|x|>", eos="<|x|>", pad="<|x|>").tokenizer
    assert one.bos_id == one.eos_id == one.pad_id == 0
    assert one.id_of("<|im_start|>") == 1
    without_chat = _train(chat=False).tokenizer
    assert (without_chat.eos_id, without_chat.id_of("<|endoftext|>")) == (1, 1)
    assert without_chat.id_of("<|im_start|>") is None
    composed = _train(normalize="nfc").tokenizer
    assert composed.decode(composed.encode("e\u0301")) == "é"
    wide = _train(type="unigram", normalize="nfkc").tokenizer
    assert wide.decode(wide.encode("ｗｉｄｅ ½")) == "wide 1\u20442"


@pytest.mark.parametrize("eos", [None, "<|endoftext|>", "none"])
def test_a_turn_of_a_chat_ends_with_eos_where_there_is_one(eos: str | None) -> None:
    tokenizer = _train(eos=eos).tokenizer
    rendered = render_chat(tokenizer, [{"role": "assistant", "content": "hi"}])
    ends = tokenizer.encode(rendered.rstrip("\n"))[-1]
    assert ends == (tokenizer.id_of("<|im_end|>") if eos == "none" else tokenizer.eos_id)


def test_rare_characters_are_spelt_in_bytes() -> None:
    text = "the cat and the dog " * 500 + "漢"
    few = _train(text, type="unigram", vocab_size=300).tokenizer
    all_of_them = _train(text, type="unigram", vocab_size=300, character_coverage=1.0).tokenizer
    assert few.id_of("漢") is None and few.decode(few.encode("漢")) == "漢"
    assert len(few.encode("漢")) == 3
    assert all_of_them.id_of("漢") is not None


def test_no_text_turns_into_a_byte_or_special_piece_by_its_score() -> None:
    tokenizer = _train(type="unigram").tokenizer
    model = json.loads(tokenizer.backend.to_str())["model"]["vocab"]
    fixed = len(TrainTokenizerConfig(type="unigram").special_tokens) + BYTES
    lowest = min(score for _, score in model[fixed:])
    assert all(score <= 6 * lowest for _, score in model[:fixed])  # <0x41> by its letters is likelier
    assert math.isfinite(lowest)


def test_more_characters_than_ids_is_an_error_with_a_size_that_works() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(400)) * 2
    with pytest.raises(ConfigError, match="400 characters") as caught:
        _train(text, type="unigram", vocab_size=500, character_coverage=1.0)
    size = int(caught.value.hint.split()[1].rstrip(","))
    assert _train(text, type="unigram", vocab_size=size, character_coverage=1.0).tokenizer.vocab_size == size


@pytest.mark.parametrize("token", ["the", "EOS", " ", "x", "", "<|"])
def test_a_special_token_that_text_would_turn_into_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="text like this"):
        check_special_tokens(TrainTokenizerConfig(special=(token,)))


@pytest.mark.parametrize("token", ["<|tool|>", "[PAD]", "</s>", "<extra id>"])
def test_a_special_token_that_the_pattern_cuts_is_taken(token: str) -> None:
    check_special_tokens(TrainTokenizerConfig(special=(token,)))
    tokenizer: Tokenizer = _train(f"{token} {TEXT} {token * 9}", special=(token,)).tokenizer
    assert len(ordinary_backend(tokenizer).encode(token, add_special_tokens=False).ids) > 1
