"""The ways of cutting text into words that llama.cpp knows, by a GGUF file's `tokenizer.ggml.pre`.

A name stands for expressions, applied one after another, each within the pieces that the last one left, and
for the habits of the tokenizers that it was made for. Where llama.cpp only comes close to a model's
expression (its regular expressions know no letter cases), the one here is of the model's tokenizer.json.

Source: ggml-org/llama.cpp `src/llama-vocab.cpp`, llm_tokenizer_bpe and llama_vocab::impl::load. That a model
composes text first (NFC) is told by its tokenizer.json alone; llama.cpp leaves it out.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

from llmkit.tokens.patterns import GPT2, GPT4, QWEN2

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*"
_ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_PUNCTUATION = r"[\p{P}\$\+<=>\^~\|]+"
_CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ"
    "-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉ"
    "ⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)


def _cased_words(ending: str) -> str:
    """Words that begin anew where a capital follows a small letter."""
    return f"{_BEFORE}{_UPPER}*{_LOWER}+{ending}|{_BEFORE}{_UPPER}+{_LOWER}*{ending}"


TEKKEN = _cased_words("") + r"|\p{N}" + _OTHERS + _SPACES
GPT4O = _cased_words(_CONTRACTIONS + "?") + r"|\p{N}{1,3}" + _OTHERS + _SPACES
QWEN35 = f"{_CONTRACTIONS}|{_BEFORE}" + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _SPACES
SEED_CODER = f"{_CONTRACTIONS}|{_BEFORE}" + r"\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + _SPACES
BAILING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
MINICPM5 = f"{_CONTRACTIONS}|{_BEFORE}" + r"\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES
DIGIT, THREE_DIGITS = r"\p{N}", r"\p{N}{1,3}"
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_CASED_LETTERS}]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-퟿]+",
    r"\p{N}+",
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", DIGIT)
_DEEPSEEK_V3 = (
    THREE_DIGITS,
    "[一-龥぀-ゟ゠-ヿ]+",
    _ASCII_PUNCTUATION + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + _SPACES,
)
_BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"


@dataclass(frozen=True)
class PreTokenizer:
    """What a name stands for."""

    patterns: tuple[str, ...]
    """Expressions, each applied within the pieces that the last one left."""
    ignore_merges: bool = False
    """A word that is a token is that token, whatever the merges make of it."""
    adds_bos: bool = False
    """bos comes first where the file does not say."""
    composes: bool = False
    """The models of this name bring text into NFC first."""


_GPT2, _QWEN2, _LLAMA3 = PreTokenizer((GPT2,)), PreTokenizer((QWEN2,)), PreTokenizer((GPT4,), True, True)
_STARCODER, _GPT4O = PreTokenizer((DIGIT, GPT2)), PreTokenizer((GPT4O,))
PRE_TOKENIZERS = {
    **dict.fromkeys(("gpt-2", "phi-2", "gpt2", "gigachat", "exaone4", "a.x-4.0", "mellum"), _GPT2),
    **dict.fromkeys(("jais", "trillion", "granite-docling"), _GPT2),
    **dict.fromkeys(("olmo", "mpt"), PreTokenizer((GPT2,), composes=True)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1"), _LLAMA3),
    **dict.fromkeys(("pixtral", "midm-2.0", "lfm2"), _LLAMA3),
    **dict.fromkeys(("smaug-bpe", "dbrx", "chatglm-bpe", "glm4"), PreTokenizer((GPT4,))),
    "qwen2": PreTokenizer((QWEN2,), composes=True),
    **dict.fromkeys(("deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2"), _QWEN2),
    **dict.fromkeys(("kormo", "solar-open"), _QWEN2),
    "qwen35": PreTokenizer((QWEN35,), composes=True),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "exaone"), _STARCODER),
    **dict.fromkeys(("minerva-7b", "mellum2"), _STARCODER),
    "command-r": PreTokenizer((DIGIT, GPT2), composes=True),
    "tekken": PreTokenizer((TEKKEN,), True, True),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "minimax-m2"), _GPT4O),
    "deepseek-llm": PreTokenizer(_DEEPSEEK_LLM),
    "deepseek-coder": PreTokenizer(_DEEPSEEK_CODER),
    **dict.fromkeys(("deepseek-v3", "hunyuan-dense", "joyai-llm"), PreTokenizer(_DEEPSEEK_V3)),
    "falcon": PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")),
    "default": PreTokenizer((_PUNCTUATION, GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    **dict.fromkeys(("bailingmoe", "bailingmoe2", "llada-moe"), PreTokenizer((BAILING,))),
    "seed-coder": PreTokenizer((SEED_CODER,)),
    "minicpm5": PreTokenizer((THREE_DIGITS, MINICPM5), True),
    **dict.fromkeys(("bloom", "gpt3-finnish", "poro-chat"), PreTokenizer((_BLOOM,))),
    "viking": PreTokenizer((_BLOOM, DIGIT)),
}
"""By name; of those that cut alike the best known comes first."""


def byte_level_cut(patterns: tuple[str, ...]) -> Any:
    """The pre-tokenizer of some patterns, and of the table that writes bytes as characters."""
    *first, last = patterns
    built_in = last == GPT2  # the library's ByteLevel cuts in GPT-2's way
    splits = [pre_tokenizers.Split(Regex(one), "isolated") for one in (first if built_in else patterns)]
    last_step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=built_in)
    return pre_tokenizers.Sequence([*splits, last_step]) if splits else last_step
