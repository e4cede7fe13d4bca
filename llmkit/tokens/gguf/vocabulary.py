"""What a GGUF file's keys say of a tokenizer, each value checked: the common ground of reading and writing.

`tokenizer.ggml.model` is the kind: llama (SentencePiece BPE, by scores), gpt2 (byte-level BPE, by merges) or
t5 (unigram). Keys that a file leaves out have llama.cpp's defaults.

Source: ggml's docs/gguf.md; defaults from ggml-org/llama.cpp `src/llama-vocab.cpp`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError, DataError
from llmkit.tokens.gguf.patterns import PRE_TOKENIZERS, PreTokenizer
from llmkit.tokens.sentencepiece import CONTROL, NORMAL

PREFIX = "tokenizer.ggml."
TEMPLATE = "tokenizer.chat_template"
"""A named one has .NAME behind it."""
TEMPLATE_NAMES = "tokenizer.chat_templates"
COMPOSES = "llmkit.tokenizer.nfc"
"""Our own key: whether text is brought into NFC first, where the name of the pre-tokenizer says otherwise."""
SENTENCEPIECE, BYTE_LEVEL, UNIGRAM = "llama", "gpt2", "t5"
ID_KEYS = {
    **{"bos": "bos_token_id", "eos": "eos_token_id", "eot": "eot_token_id", "eom": "eom_token_id"},
    **{"unk": "unknown_token_id", "pad": "padding_token_id", "mask": "mask_token_id"},
    **{"prefix": "fim_pre_token_id", "suffix": "fim_suf_token_id", "middle": "fim_mid_token_id"},
}
"""Keys of special ids; sep and cls are of encoders, which are not read."""
TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "<|eom_id|>")
"""Tokens that llama.cpp takes for the end of a turn by their looks, and makes control tokens."""
TEXT_ENDS = ("<|endoftext|>", "<|eom_id|>")
"""Those of them that end more, or less, than a turn."""
KEEP_FOLDER = "keep the folder with its tokenizer.json; llama.cpp cannot read this tokenizer"
"""What can be done where a tokenizer has no place in a GGUF file."""
_DEFAULT_IDS = {SENTENCEPIECE: {"bos": 1, "eos": 2, "unk": 0}, UNIGRAM: {"eos": 1, "unk": 2}}
_HINT = "fetch the file again, or convert the model again from where it was published"


@dataclass(frozen=True)
class GgufVocabulary:
    """The tokenizer's keys, as far as ids depend on them."""

    model: str
    pre: PreTokenizer | None
    """How gpt2 cuts text; None for the other kinds, which do not."""
    tokens: list[str]
    kinds: list[int]
    """Of each token, SentencePiece's numbers: NORMAL, CONTROL, …"""
    scores: list[float]
    """Of each token; empty for gpt2."""
    merges: list[tuple[str, str]]
    """Of gpt2."""
    ids: dict[str, int]
    """bos, eos, …, of those that there are."""
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    remove_extra_whitespaces: bool
    character_map: bytes
    """How t5 normalises text."""
    composes: bool
    """gpt2 brings text into NFC first; llama.cpp does not."""

    def special(self, name: str) -> str | None:
        """The token that is bos, eos, …; None where there is none."""
        index = self.ids.get(name)
        return None if index is None else self.tokens[index]


def parse_vocabulary(metadata: Mapping[str, Any], name: str) -> GgufVocabulary:
    """Check a file's keys.

    Args:
        metadata: every key with its value, arrays whole.
        name: of the file, for messages.

    Raises:
        ConfigError: a kind of tokenizer, or a name of a pre-tokenizer, that is not known here.
        DataError: a key is missing or makes no sense.
    """
    keys = _Keys(metadata, name)
    model = keys.text("model")
    if model not in (SENTENCEPIECE, BYTE_LEVEL, UNIGRAM):
        raise ConfigError(
            f"{name}: {PREFIX}model is {model!r}, a kind of tokenizer that is not read",
            hint=f"{SENTENCEPIECE}, {BYTE_LEVEL} and {UNIGRAM} are; use the model's tokenizer.json",
        )
    pre = _pre_tokenizer(keys) if model == BYTE_LEVEL else None
    tokens = keys.texts("tokens")
    kinds = keys.numbers("token_type", len(tokens), int) or [NORMAL] * len(tokens)
    kinds = [CONTROL if token in TURN_ENDS else kind for token, kind in zip(tokens, kinds, strict=True)]
    scores = keys.numbers("scores", len(tokens), float) if model != BYTE_LEVEL else []
    if model != BYTE_LEVEL and not scores:
        keys.fail("scores", "is missing")
    return GgufVocabulary(
        model=model,
        pre=pre,
        tokens=tokens,
        kinds=kinds,
        scores=scores,
        merges=_merges(keys) if model == BYTE_LEVEL else [],
        ids=_ids(keys, model, len(tokens)),
        add_bos=keys.flag("add_bos_token", model == SENTENCEPIECE or bool(pre and pre.adds_bos)),
        add_eos=keys.flag("add_eos_token", model == UNIGRAM),
        add_space_prefix=keys.flag("add_space_prefix", model == SENTENCEPIECE),
        remove_extra_whitespaces=keys.flag("remove_extra_whitespaces", False),
        character_map=bytes(one & 0xFF for one in keys.get("precompiled_charsmap") or []),  # i8 or u8
        composes=bool(metadata.get(COMPOSES, bool(pre and pre.composes))),
    )


def gguf_stop_ids(metadata: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The ids that end a text or a turn: eos, eot, eom, and tokens that look like the end of a turn.

    How text is cut does not bear on them: a file whose tokenizer cannot be read has them too.

    Args:
        metadata, name: as `parse_vocabulary` takes them.

    Raises:
        DataError: a key is missing or makes no sense.
    """
    keys = _Keys(metadata, name)
    tokens = keys.texts("tokens")
    ids = _ids(keys, keys.text("model"), len(tokens))
    named = [ids[what] for what in ("eos", "eot", "eom") if what in ids]
    looks = [index for index, token in enumerate(tokens) if token in TURN_ENDS]
    return tuple(dict.fromkeys((*named, *looks)))


def listed_merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a tokenizer.json's model, which older files write as one text each."""
    pairs = (one.split(" ", 1) if isinstance(one, str) else one for one in model["merges"])
    return [(left, right) for left, right in pairs]


class _Keys:
    """Keys below `tokenizer.ggml.`, by type."""

    def __init__(self, metadata: Mapping[str, Any], name: str) -> None:
        self.metadata = metadata
        self.name = name

    def get(self, key: str) -> Any:
        return self.metadata.get(PREFIX + key)

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            self.fail(key, "is missing" if value is None else f"is not text (found {value!r:.40})")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            self.fail(key, f"is neither true nor false (found {value!r:.40})")
        return default if value is None else value

    def texts(self, key: str) -> list[str]:
        value = self.get(key)
        if value is None:
            self.fail(key, "is missing")
        if not isinstance(value, list) or set(map(type, value)) - {str}:
            self.fail(key, "is not a list of texts")
        try:
            "".join(value).encode()  # of hundreds of thousands, a look at each letter takes a while
        except UnicodeEncodeError:
            strange = (at for at, one in enumerate(value) if any(0xD800 <= ord(c) < 0xE000 for c in one))
            self.fail(key, f"is not UTF-8 at {next(strange)}")
        return value

    def numbers(self, key: str, count: int, kind: type) -> list[Any]:
        """One number a token; nothing where the key is missing."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or set(map(type, value)) - {int, float, bool}:
            self.fail(key, "is not a list of numbers")
        if len(value) != count:
            self.fail(key, f"has {len(value)} values for {count} tokens")
        return [kind(one) for one in value]

    def fail(self, key: str, problem: str) -> Any:
        raise DataError(f"{self.name}: {PREFIX}{key} {problem}", hint=_HINT)


def _pre_tokenizer(keys: _Keys) -> PreTokenizer:
    name = keys.get("pre")
    if name is None:  # llama.cpp takes a default, whose tokens may be other than the model was trained with
        raise DataError(
            f"{keys.name}: {PREFIX}pre is missing, as in old files: how text is cut is not told",
            hint="-t with the model's tokenizer.json, or convert the model again from where it was published",
        )
    name = keys.text("pre")
    if name not in PRE_TOKENIZERS:
        raise ConfigError(
            f"{keys.name}: {PREFIX}pre is {name!r}, a way of cutting text that is not known here",
            hint="-t with the model's tokenizer.json; known are " + ", ".join(sorted(PRE_TOKENIZERS)),
        )
    return PRE_TOKENIZERS[name]


def _merges(keys: _Keys) -> list[tuple[str, str]]:
    merges = []
    for line in keys.texts("merges"):
        cut = line.find(" ", 1)  # the first part may be a space itself
        if not 0 < cut < len(line) - 1:
            keys.fail("merges", f"is not two pieces in {line!r:.40}")
        merges.append((line[:cut], line[cut + 1 :]))
    return merges


def _ids(keys: _Keys, model: str, count: int) -> dict[str, int]:
    ids = {what: index for what, index in _DEFAULT_IDS.get(model, {}).items() if index < count}
    for what, key in ID_KEYS.items():
        value = keys.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or not 0 <= value < count:
            keys.fail(key, f"is no id of {count} tokens (found {value!r:.40})")
        ids[what] = value
    return ids
