"""Train a tokenizer: a stream of texts in, a tokenizer and the words it was made from out.

Both kinds cut text into words by one of `patterns.py`, and have an id for each of the 256 bytes, so that
every text has ids and comes back from them byte for byte:

bpe       bytes are merged within words (Sennrich et al. 2016, arXiv:1508.07909, on bytes as GPT-2); trained
          by the `tokenizers` library
unigram   the likeliest cut of a word into pieces (`unigram.py`); a character that is no piece is spelt in
          bytes. Pieces hold spaces as spaces: SentencePiece's mark ▁ would make a ▁ in a text a space.

Ids: special tokens, bytes, pieces. The same words in another order, or counted by other threads, give the
same tokenizer.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from llmkit.errors import ConfigError
from llmkit.progress import SILENT, Progress
from llmkit.tokens.chatml import chatml_template
from llmkit.tokens.config import BYTES, NO_TOKEN, UNKNOWN, TrainTokenizerConfig
from llmkit.tokens.patterns import GPT2, GPT4, QWEN2, byte_level, special_token
from llmkit.tokens.post import add_around
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.unigram import train_unigram

PATTERNS = {"gpt2": GPT2, "gpt4": GPT4, "llama3": GPT4, "qwen2": QWEN2}
MIN_FREQUENCY = 2  # a pair seen once is no pattern
_NORMALIZERS: dict[str, Callable[[], Any]] = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}
_NEVER = 8.0  # times the worst score: that of pieces that no text may turn into
_NUL = "\0"


@dataclass(frozen=True)
class Trained:
    """A new tokenizer, and how often each word of its text occurs, spelt as its model spells it."""

    tokenizer: Tokenizer
    words: Mapping[str, int]


def train_tokenizer(
    texts: Iterator[str], config: TrainTokenizerConfig, *, progress: Progress = SILENT
) -> Trained:
    """Train on texts, which are drawn one at a time; pieces never cross from one to the next.

    Args:
        texts: parts of documents (`parts.cut_parts`).
        config: what to make.
        progress: told how many pieces are left (unigram); the library's trainer says nothing.

    Raises:
        ConfigError: a special token that text would turn into, or more characters than ids.

    """
    check_special_tokens(config)
    pattern = PATTERNS[config.pattern]
    if config.type == "bpe":
        backend, words = _train_bpe(texts, config, pattern)
    else:
        backend, words = _train_unigram(texts, config, pattern, progress)
    bos = None if config.bos == NO_TOKEN else config.bos
    add_around(backend, bos, None)  # a prompt begins as documents do in training; nothing ends it
    template = chatml_template(bos=bos is not None, turn_end=config.turn_end) if config.chat else None
    return Trained(Tokenizer(backend, _tokenizer_config(config), template), words)


def check_special_tokens(config: TrainTokenizerConfig) -> None:
    """Whether the pattern cuts inside each special token, so that text never turns into it unasked.

    Raises:
        ConfigError: one that is a word, or less.
    """
    cut = pre_tokenizers.Split(Regex(PATTERNS[config.pattern]), behavior="isolated")
    for token in config.special_tokens:
        if len(cut.pre_tokenize_str(token)) < 2:
            raise ConfigError(
                f"special token {token!r}: text like this would turn into it", hint=f"call it <|{token}|>"
            )


def _train_bpe(
    texts: Iterator[str], config: TrainTokenizerConfig, pattern: str
) -> tuple[tokenizers.Tokenizer, Mapping[str, int]]:
    backend = _normalised(byte_level(models.BPE(), pattern), config)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=[special_token(token) for token in config.special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend, _counted(trainer)


def _train_unigram(
    texts: Iterator[str], config: TrainTokenizerConfig, pattern: str, progress: Progress
) -> tuple[tokenizers.Tokenizer, Mapping[str, int]]:
    cut = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    counting = _normalised(tokenizers.Tokenizer(models.WordLevel()), config)
    counting.pre_tokenizer = cut
    counter = trainers.WordLevelTrainer(vocab_size=0, show_progress=False)
    counting.train_from_iterator(texts, counter)
    words = _counted(counter)

    known, characters = _covered(words, config.character_coverage)
    size = config.vocab_size - config.smallest_vocab
    if characters > size:
        raise ConfigError(
            f"--vocab-size {config.vocab_size} is too small for a text with {characters:,} characters",
            hint=f"--vocab-size {config.smallest_vocab + 2 * characters}, or a lower --character-coverage",
        )
    pieces = train_unigram(known, size, progress=progress)

    never = _NEVER * min((score for _, score in pieces), default=-1.0)
    reserved = [*config.special_tokens, *(f"<0x{byte:02X}>" for byte in range(BYTES))]
    vocabulary = [*((piece, never) for piece in reserved), *pieces]
    unknown = config.special_tokens.index(UNKNOWN)
    backend = _normalised(tokenizers.Tokenizer(models.Unigram(vocabulary, unknown, True)), config)
    backend.pre_tokenizer = cut
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens([special_token(token) for token in config.special_tokens])
    return backend, words


def _normalised(backend: tokenizers.Tokenizer, config: TrainTokenizerConfig) -> tokenizers.Tokenizer:
    if config.normalize != "none":
        backend.normalizer = _NORMALIZERS[config.normalize]()
    return backend


def _counted(trainer: Any) -> dict[str, int]:
    """The words that a trainer of `tokenizers` has counted, in all threads; only its state tells them."""
    state = msgspec.json.decode(trainer.__getstate__(), type=dict[str, dict[str, Any]])
    (fields,) = state.values()
    words: dict[str, int] = fields["words"]
    return words


def _covered(words: Mapping[str, int], coverage: float) -> tuple[dict[str, int], int]:
    """Words cut at their rare characters, and how many characters are left.

    The characters that stay are the most frequent ones that make up `coverage` of the text.

    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    counts.pop(_NUL, None)  # marks the cuts below
    wanted = coverage * counts.total()
    dropped = {ord(_NUL): _NUL}
    for character, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        if wanted <= 0:
            dropped[ord(character)] = _NUL
        wanted -= count
    known: Counter[str] = Counter()
    for word, count in words.items():
        for part in word.translate(dropped).split(_NUL):
            if part:
                known[part] += count
    return known, len(counts) - (len(dropped) - 1)


def _tokenizer_config(config: TrainTokenizerConfig) -> dict[str, Any]:
    """tokenizer_config.json, as transformers reads it."""
    named = {"bos": config.bos, "eos": config.eos_token, "pad": config.pad}
    if config.type == "unigram":
        named["unk"] = UNKNOWN
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name}_token": token for name, token in named.items() if token != NO_TOKEN},
        "clean_up_tokenization_spaces": False,
    }
