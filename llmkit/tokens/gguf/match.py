"""Find llama.cpp's name for how a byte-level tokenizer cuts text into words.

A name is taken when its expressions are the tokenizer's own, and the proof is made: both cut the same
samples alike. Samples alone would not do, for no list of them tells all expressions apart.
"""

import re
from typing import Any

import tokenizers
from tokenizers.models import BPE

from llmkit.errors import ConfigError
from llmkit.tokens.gguf.patterns import PRE_TOKENIZERS, PreTokenizer, byte_level_cut
from llmkit.tokens.gguf.vocabulary import KEEP_FOLDER, listed_merges
from llmkit.tokens.patterns import GPT2
from llmkit.tokens.steps import steps_of

NEVER_WRITTEN = ("gpt2", "default")
"""Names that are read: llama.cpp does not know the first, and the second is its guess at a missing name."""
SAMPLES = (
    "Hello, world! It's WE'LL they'Ve i'm DON'T 'tis x's'ss",
    "HTTPServer camelCase snake_case iPhone McDonald's ÀÉÎ éÉ ǅungla ʰᵃ",
    "1 12 123 1234 12345678 3.14 1,000 ½ ² Ⅻ ١٢٣ 1st v2",
    "  a   b\tc\t\td \n e\n\n\nf \r\n g\n  h\n\n  \u00a0 \u3000x   ",
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n",
    "spaces  before   12  345\n 6   ",
    "a\n",
    "-- --- ... !!! ?! «x» “y” (z) [w] {v} a/b a//b /* c */ #d @e $5 €5 ^ ~ ` | \\ + = < >",
    "!\n?\n\n/\n//\n;\r\n",
    "x!y !word (word #word ?Word",
    "日本語のテキスト、中文。한국어 ไทย हिन्दी বাংলা ខ្មែរ עברית العَرَبِيَّة",
    "我想在apple工作1314151天～ カタカナひらがな",
    "e\u0301 a\u0308o\u0323 नि \u0301x",
    "🚀 (normal) 😶\u200d🌫️ 👩‍👩‍👧 ✅❤️",
    "def f(x):\n    return x**2  # squares\n\n\tif not x:\n\t\tpass\n",
    "<|x|> </s> [INST] http://a.b/c?d=e&f#g user@host.org",
)
_CONTRACTIONS = {
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"(?i:'s|'t|'re|'ve|'m|'d|'ll)": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
}


def pre_tokenizer_name(backend: tokenizers.Tokenizer, state: dict[str, Any], *, composes: bool) -> str:
    """The name of the way a byte-level tokenizer cuts text.

    Args:
        backend: the tokenizer.
        state: its tokenizer.json.
        composes: it brings text into NFC first. Of names that cut alike, one with this habit is preferred.

    Raises:
        ConfigError: there is none, or only one that would find other tokens in a word.
    """
    patterns = cut_patterns(state["pre_tokenizer"])
    cut = backend.pre_tokenizer
    alike = [
        (name, pre)
        for name, pre in PRE_TOKENIZERS.items()
        if name not in NEVER_WRITTEN and pre.patterns == patterns and _differ_on(cut, pre) == 0
    ]
    if not alike:
        raise _unknown(patterns, cut)
    same = {flag: _same_merges(state, flag) for flag in {pre.ignore_merges for _, pre in alike}}
    right = [(name, pre) for name, pre in alike if same[pre.ignore_merges]]
    if not right:
        raise ConfigError(
            f"llama.cpp's {alike[0][0]} cuts text as this tokenizer does, but then puts words together "
            f"otherwise (ignore_merges is {state['model'].get('ignore_merges', False)} here)",
            hint=KEEP_FOLDER,
        )
    return next((name for name, pre in right if pre.composes == composes), right[0][0])


def cut_patterns(part: dict[str, Any] | None) -> tuple[str, ...]:
    """A pre-tokenizer of tokenizer.json as expressions that are applied one after another.

    Raises:
        ConfigError: a step that is no such expression.
    """
    patterns = []
    steps = steps_of(part)
    for step in steps:
        kind = step["type"]
        if kind == "Split" and _keeps_all(step):
            given = step["pattern"]
            patterns.append(_spelling(given["Regex"]) if "Regex" in given else re.escape(given["String"]))
        elif kind == "Digits":
            patterns.append(r"\p{N}" if step["individual_digits"] else r"\p{N}+")
        elif kind == "ByteLevel" and step is steps[-1] and not step["add_prefix_space"]:
            patterns += [GPT2] if step.get("use_regex", True) else []
        else:
            raise ConfigError(
                f"llama.cpp has no way of cutting text like this tokenizer's step {_short(step)}",
                hint=KEEP_FOLDER,
            )
    return tuple(patterns)


def _keeps_all(step: dict[str, Any]) -> bool:
    """Whether a Split leaves text whole; a removing one does if its expression matches everything."""
    if step["behavior"] == "Isolated":
        return True
    return step["behavior"] == "Removed" and bool(step["invert"])  # the samples show whether it does


def _spelling(pattern: str) -> str:
    """An expression as `patterns` of this folder writes it."""
    for theirs, ours in _CONTRACTIONS.items():
        pattern = pattern.replace(theirs, ours)
    return pattern


def _differ_on(cut: Any, pre: PreTokenizer) -> int:
    """How many of the samples are cut otherwise."""
    other = byte_level_cut(pre.patterns)
    return sum(cut.pre_tokenize_str(text) != other.pre_tokenize_str(text) for text in SAMPLES)


def _unknown(patterns: tuple[str, ...], cut: Any) -> ConfigError:
    differ = {name: _differ_on(cut, pre) for name, pre in PRE_TOKENIZERS.items() if name not in NEVER_WRITTEN}
    nearest = min(differ, key=lambda name: differ[name])
    return ConfigError(
        f"llama.cpp has no way of cutting text like this tokenizer's (found {_short(patterns)}; {nearest} "
        f"comes closest, and cuts {len(SAMPLES) - differ[nearest]} of {len(SAMPLES)} samples alike)",
        hint=KEEP_FOLDER,
    )


def _same_merges(state: dict[str, Any], ignore_merges: bool) -> bool:
    """Whether words get the same tokens with this setting as with the tokenizer's own.

    They do where the settings are equal, and where merges make every piece of itself anyhow.
    """
    model = state["model"]
    if bool(model.get("ignore_merges", False)) == ignore_merges:
        return True
    merging = BPE(vocab=model["vocab"], merges=listed_merges(model))
    added = {token["content"] for token in state["added_tokens"]}
    return all(len(merging.tokenize(piece)) == 1 for piece in model["vocab"] if piece and piece not in added)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
