"""Settings of the tokenizing commands: torch- and numpy-free, so that flags can show their defaults."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from llmkit.errors import UsageError

TokenizeMode = (
    Literal["count", "ids", "pieces", "offsets", "view", "raw", "jsonl"]
    | Literal["decode", "truncate", "chunk", "check", "compare"]
)
Keep = Literal["head", "tail", "middle", "ends"]
RawType = Literal["u2", "u4"]
RowFormat = Literal["text", "tsv", "jsonl", "json"]
Strategy = Literal["best-fit", "greedy", "concat"]
LongDocuments = Literal["split", "truncate", "drop"]
Boundary = Literal["auto", "none", "bos", "eos", "both"]


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """What `llmkit tokenize` does with each document."""

    mode: TokenizeMode = "count"
    row_format: RowFormat | None = None
    """None: text, except that jsonl records stay jsonl where documents come out (truncate, decode)."""
    field: str = "text"
    """Key of a jsonl record that holds the text. A record without it that has `messages` is a chat."""
    generation_prompt: bool = False
    """Whether a chat ends with the opening of the assistant's turn."""
    bos: bool = False
    eos: bool = False
    allow_special: bool = False
    """Whether text that looks like a special token becomes it. Rendered chats always may."""
    limit: int = 0
    """Tokens to truncate to, or of a chunk; bos and eos count."""
    keep: Keep = "head"
    overlap: int = 0
    """Tokens that a chunk repeats from the one before."""
    max_tokens: int | None = None
    """Documents above this fail the gate."""
    prices: tuple[float, ...] = ()
    """Per million tokens: one for all tokenizers, or one each."""
    raw_type: RawType = "u2"
    keep_text: bool = False
    by: str = "file"
    """What --compare groups by: `file`, or a key of the records such as `source` or `metadata.lang`."""
    per_record: bool = False
    """One row for each jsonl record, not for each file."""
    unbuffered: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, modes in _BELONGS_TO.items():
            if self.mode not in modes and getattr(self, name) != getattr(TokenizeConfig, name):
                wanted = " or ".join(f"--{mode}" for mode in modes)
                flag = _FLAGS.get(name, name.replace("_", "-"))
                raise UsageError(
                    f"--{flag} does nothing with --{self.mode}", hint=f"--{flag} goes with {wanted}"
                )
        if self.row_format is not None and self.row_format not in _FORMATS[self.mode]:
            known = ", ".join(_FORMATS[self.mode]) or "none: bytes come out"
            raise UsageError(f"--{self.mode} has no format {self.row_format}", hint=f"formats: {known}")
        room = self.limit - self.bos - self.eos
        if self.mode in ("truncate", "chunk") and room < 1:
            raise UsageError(
                f"--{self.mode} {self.limit} leaves no room for text", hint="use a larger number"
            )
        if self.mode == "chunk" and not 0 <= self.overlap < room:
            raise UsageError(
                f"--overlap {self.overlap} must be below the {room} tokens of text in a chunk",
                hint=f"--overlap {room // 8}",
            )
        if any(price < 0 for price in self.prices):
            raise UsageError("--price is negative", hint="--price 0.15: for a million tokens")


_ALL: tuple[RowFormat, ...] = ("text", "tsv", "jsonl", "json")
_FORMATS: dict[TokenizeMode, tuple[RowFormat, ...]] = {
    "count": _ALL,
    "ids": ("text", "tsv", "jsonl"),
    "pieces": ("text", "tsv", "jsonl"),
    "offsets": ("text", "tsv", "jsonl"),
    "view": ("text",),
    "raw": (),
    "jsonl": ("jsonl",),
    "decode": ("text", "jsonl"),
    "truncate": ("text", "jsonl"),
    "chunk": ("jsonl",),
    "check": _ALL,
    "compare": _ALL,
}
_OF_TEXT: tuple[TokenizeMode, ...] = tuple(mode for mode in _FORMATS if mode != "decode")
_BELONGS_TO: dict[str, tuple[TokenizeMode, ...]] = {
    "keep": ("truncate",),
    "overlap": ("chunk",),
    "max_tokens": ("count",),
    "prices": ("count", "compare"),
    "keep_text": ("jsonl",),
    "by": ("compare",),
    "per_record": ("count",),
    "allow_special": _OF_TEXT,
    "generation_prompt": _OF_TEXT,
    "bos": ("count", "ids", "pieces", "offsets", "view", "raw", "jsonl", "truncate", "chunk"),
    "eos": ("count", "ids", "pieces", "offsets", "view", "raw", "jsonl", "truncate", "chunk"),
}
_FLAGS = {"max_tokens": "max", "prices": "price"}


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """How `llmkit pack` makes rows of documents."""

    seq_len: int = 1024
    """Targets of a row: it stores seq_len + 1 ids, which are seq_len inputs and seq_len targets."""
    strategy: Strategy = "best-fit"
    """best-fit: the fullest row with room, over all documents; greedy: the present row or a new one, in
    order; concat: end to end, cut where a row ends."""
    long: LongDocuments = "split"
    """What becomes of a document longer than a row."""
    boundary: Boundary = "auto"
    """Tokens put around each document, where it has not got them; auto: those that the tokenizer has."""
    shuffle: bool = True
    """Whether rows are put into a random order; otherwise into that of their first documents."""
    seed: int = 0
    shard_tokens: int = 100_000_000
    """Ids of a shard, about."""
    fim: float = 0.0
    """The share of documents that are told with a gap and what belongs in it (fill in the middle)."""
    fim_spm: float | None = None
    """Of these, the share that tell first what follows the gap; None: half, where a model has both forms."""

    def __post_init__(self) -> None:
        if self.seq_len > LONGEST_ROW:
            raise UsageError(
                f"--seq-len {self.seq_len} is more than the {LONGEST_ROW} that a row can have",
                hint="--seq-len 1M",
            )
        for name in _GAPS:
            if not 0 <= (getattr(self, name) or 0) <= 1:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"--{flag} is a share from 0 to 1 (found {getattr(self, name)})", hint=f"--{flag} 0.5"
                )
        if self.fim_spm is not None and not self.fim:
            raise UsageError("--fim-spm does nothing without --fim", hint="--fim 0.5: of half the documents")
        for name in ("seq_len", "shard_tokens"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                default = getattr(PackConfig, name)
                raise UsageError(
                    f"--{flag} must be at least 1 (found {getattr(self, name)})", hint=f"--{flag} {default}"
                )

    @property
    def row_length(self) -> int:
        """Ids stored in a row."""
        return self.seq_len + 1

    @property
    def key(self) -> dict[str, Any]:
        """What rows are known by that were packed before. Without gaps nothing is said of them: rows that
        are older than these are found again, and runs that read them go on."""
        settings = asdict(self)
        return settings if self.fim else {name: settings[name] for name in settings if name not in _GAPS}


LONGEST_ROW = 1_000_000_000
_GAPS = ("fim", "fim_spm")
TokenizerType = Literal["bpe", "unigram"]
PatternName = Literal["gpt2", "gpt4", "llama3", "qwen2"]
Normalization = Literal["none", "nfc", "nfkc"]
NO_TOKEN = "none"
BYTES = 256
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
UNKNOWN = "<unk>"


@dataclass(frozen=True, kw_only=True)
class TrainTokenizerConfig:
    """What `llmkit train-tokenizer` makes of text."""

    type: TokenizerType = "bpe"
    vocab_size: int = 32_768
    """Ids in all: special tokens, 256 bytes, and the pieces that are learnt."""
    pattern: PatternName = "gpt4"
    """How text is cut into words that no piece crosses; llama3 is another name of gpt4."""
    normalize: Normalization = "none"
    """Anything but none loses what it changes: decoding gives back the normalised text."""
    bos: str = "<|startoftext|>"
    """Begins a document; `none`: there is no such token. Another than eos, so that a model can tell an end
    from a start."""
    eos: str | None = None
    """Ends a document, and a turn of a chat: one token, which pretraining has taught to every model made
    with it, and at which every program stops. None: <|im_end|>, or without chat <|endoftext|>."""
    pad: str = "<|pad|>"
    """Fills up batches. Another than eos: where padding is left out of the loss, an eos that is also padding
    is never learnt."""
    chat: bool = True
    """Whether the tokens and the template of ChatML are there, for fine-tuning to use."""
    special: tuple[str, ...] = ()
    """More special tokens."""
    character_coverage: float = 0.9995
    """Unigram: of all characters of the text, the share that are pieces; the rarest are spelt as bytes."""
    max_bytes: int = 1_000_000_000
    """Text to train on, about; of more, a sample is taken."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocab_size < self.smallest_vocab:
            raise UsageError(
                f"--vocab-size {self.vocab_size} is too small: {BYTES} bytes and {len(self.special_tokens)} "
                f"special tokens are {self.smallest_vocab}",
                hint=f"--vocab-size {self.smallest_vocab + BYTES}",
            )
        if not 0 < self.character_coverage <= 1:
            raise UsageError(
                f"--character-coverage {self.character_coverage} is not a share above 0, up to 1",
                hint=f"--character-coverage {TrainTokenizerConfig.character_coverage}",
            )
        if self.type == "bpe" and self.character_coverage != TrainTokenizerConfig.character_coverage:
            raise UsageError(
                "--character-coverage does nothing with --type bpe", hint="it goes with --type unigram"
            )
        if self.max_bytes < 1:
            raise UsageError(f"--max-bytes {self.max_bytes} is no text", hint="--max-bytes 100M")
        if self.type == "bpe" and self.max_bytes > LARGEST_SAMPLE:
            raise UsageError(
                f"--max-bytes {self.max_bytes} is more than the {LARGEST_SAMPLE} that pairs are counted to",
                hint="--max-bytes 2G",
            )

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """All special tokens in the order of their ids, each once."""
        named = (token for token in (self.bos, self.eos_token, self.pad) if token != NO_TOKEN)
        unknown = (UNKNOWN,) if self.type == "unigram" else ()
        chat = (TURN_START, self.turn_end) if self.chat else ()
        return tuple(dict.fromkeys((*named, *unknown, *chat, *self.special)))

    @property
    def eos_token(self) -> str:
        """eos as it is, where it was left open."""
        return self.eos or (TURN_END if self.chat else "<|endoftext|>")

    @property
    def turn_end(self) -> str:
        """What ends a turn of a chat."""
        return TURN_END if self.eos_token == NO_TOKEN else self.eos_token

    @property
    def smallest_vocab(self) -> int:
        """Ids that are always there."""
        return BYTES + len(self.special_tokens)


LARGEST_SAMPLE = 2**31 - 1
"""The trainer of `tokenizers` counts pairs in 32 bits with a sign: fewer bytes cannot overflow them."""
