"""The keys of a GGUF file that carry a tokenizer, such that llama.cpp gives its ids.

What llama.cpp cannot do is an error, where it touches the tokens of plain text; what it leaves out beside
that is told by `lost_in_gguf`.
"""

import json
import re
from typing import Any

from llmkit.errors import ConfigError, nearest
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.tokens.gguf.match import pre_tokenizer_name
from llmkit.tokens.gguf.patterns import PRE_TOKENIZERS
from llmkit.tokens.gguf.scores import Spacing, piece_scores, read_spacing
from llmkit.tokens.gguf.vocabulary import (
    BYTE_LEVEL,
    COMPOSES,
    ID_KEYS,
    KEEP_FOLDER,
    PREFIX,
    SENTENCEPIECE,
    TEMPLATE,
    TEMPLATE_NAMES,
    TEXT_ENDS,
    TURN_ENDS,
    UNIGRAM,
    listed_merges,
)
from llmkit.tokens.infill import GAP_MARKS
from llmkit.tokens.sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from llmkit.tokens.steps import steps_of
from llmkit.tokens.tokenizer import Tokenizer, token_content

_NO_SCORE = -10_000.0
"""Of tokens that text never turns into."""


def gguf_tokenizer_metadata(
    tokenizer: Tokenizer, *, vocab_size: int | None = None, pre: str | None = None
) -> dict[str, MetadataValue]:
    """A tokenizer as keys and values for `write_gguf`.

    Args:
        tokenizer: to be carried.
        vocab_size: rows of the model's embedding, if more than the tokenizer has ids: unused tokens fill up.
        pre: llama.cpp's name for how text is cut, taken without a look instead of one that is found. Of
            byte-level tokenizers only.

    Raises:
        ConfigError: llama.cpp would give plain text other tokens, `pre` is no name it knows, or vocab_size is
            too small.
    """
    state = json.loads(tokenizer.backend.to_str())
    model = _kind(state)
    if pre is not None and (model != BYTE_LEVEL or pre not in PRE_TOKENIZERS):
        raise _wrong_name(model, pre)
    size = tokenizer.vocab_size if vocab_size is None else vocab_size
    tokens, kinds = _tokens(tokenizer, state, size)
    metadata: dict[str, MetadataValue] = {
        f"{PREFIX}model": model,
        f"{PREFIX}pre": "default",
        f"{PREFIX}tokens": Typed("str", tokens),
        f"{PREFIX}token_type": Typed("i32", kinds),
    }
    if model == BYTE_LEVEL:
        metadata |= _byte_level(tokenizer, state, pre)
    else:
        metadata |= _sentencepiece(state, model, tokens)
    metadata |= _special(tokenizer, state)
    if tokenizer.chat_template is not None:
        metadata[TEMPLATE] = tokenizer.chat_template
    named = {re.sub(r"[^A-Za-z0-9]", "_", name): text for name, text in tokenizer.named_templates.items()}
    if named:
        metadata |= {f"{TEMPLATE}.{name}": text for name, text in named.items()}
        metadata[TEMPLATE_NAMES] = Typed("str", sorted(named))
    return metadata


def lost_in_gguf(tokenizer: Tokenizer) -> list[str]:
    """What llama.cpp will do otherwise, a sentence each: nothing here touches the tokens of ordinary text.

    Raises:
        ConfigError: as `gguf_tokenizer_metadata`.
    """
    state = json.loads(tokenizer.backend.to_str())
    lost = []
    strips = [one["content"] for one in state["added_tokens"] if one["lstrip"] or one["rstrip"]]
    if strips:
        lost.append(
            f"{len(strips)} special tokens take the white space beside them ({', '.join(strips[:3])}): "
            "llama.cpp does that if general.name has phi-3 in it"
        )
    if any(one["single_word"] for one in state["added_tokens"]):
        lost.append("special tokens that are found as whole words only are found inside words too")
    changed = _changed_before_they_are_found(tokenizer, state)
    if changed:
        lost.append(
            f"{len(changed)} added tokens are looked for in text that is changed first "
            f"({', '.join(changed[:3])}): llama.cpp looks in the text as it is, and inside words"
        )
    if _kind(state) == BYTE_LEVEL:
        if _composes(state):
            lost.append("text is not brought into NFC first: a decomposed é has other tokens")
        return lost
    spacing = read_spacing(state)
    if spacing.first_only:
        lost.append("a space is put before the text after each special token, not only before the first")
    if spacing.remove_extra_whitespaces and _kind(state) == SENTENCEPIECE:  # of t5's, llama.cpp does it
        lost.append("spaces at the ends of a text and runs of them are kept, where this tokenizer drops them")
    return lost


def _changed_before_they_are_found(tokenizer: Tokenizer, state: dict[str, Any]) -> list[str]:
    """Added tokens that are normalised as text is: where that begins with a space, so do they."""
    normalizer = tokenizer.backend.normalizer
    if normalizer is None:
        return []
    texts = [one["content"] for one in state["added_tokens"] if one["normalized"]]
    return [text for text in texts if normalizer.normalize_str(text) != text]


def _kind(state: dict[str, Any]) -> str:
    kind = state["model"].get("type") or ("Unigram" if "unk_id" in state["model"] else "BPE")
    if kind == "Unigram" and not state["model"].get("byte_fallback"):
        return UNIGRAM
    if kind == "BPE" and "ByteLevel" in json.dumps(state["pre_tokenizer"]):
        return BYTE_LEVEL
    if kind == "BPE":
        return SENTENCEPIECE
    detail = " with tokens for bytes" if kind == "Unigram" else ""
    raise ConfigError(f"llama.cpp has no tokenizer of the kind {kind}{detail}", hint=KEEP_FOLDER)


def _wrong_name(model: str, pre: str) -> ConfigError:
    if model != BYTE_LEVEL:
        return ConfigError(
            f"pre={pre}, but only byte-level tokenizers cut text in a way that has a name",
            hint="leave pre out",
        )
    close = nearest(pre, PRE_TOKENIZERS)
    known = ", ".join(sorted(PRE_TOKENIZERS))
    return ConfigError(
        f"no way of cutting text called {pre!r}",
        hint=f"did you mean {close}?" if close else f"one of {known}",
    )


def _tokens(tokenizer: Tokenizer, state: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Every token and its kind, by id; ids without a token are filled."""
    if size < tokenizer.vocab_size:
        raise ConfigError(
            f"vocab_size is {size}, but the tokenizer has ids up to {tokenizer.vocab_size - 1}",
            hint="the model and the tokenizer do not belong together",
        )
    tokens, kinds = [f"[PAD{index}]" for index in range(size)], [UNUSED] * size
    fallback = bool(state["model"].get("byte_fallback"))
    for piece, index in tokenizer.backend.get_vocab(with_added_tokens=True).items():
        is_byte = fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
        tokens[index], kinds[index] = piece, BYTE if is_byte else NORMAL
    for index, token in tokenizer.backend.get_added_tokens_decoder().items():
        kinds[index] = CONTROL if token.special else USER_DEFINED
    unknown = _unknown_id(tokenizer, state)
    if unknown is not None and kinds[unknown] == CONTROL:
        kinds[unknown] = UNKNOWN
    return tokens, kinds


def _unknown_id(tokenizer: Tokenizer, state: dict[str, Any]) -> int | None:
    model = state["model"]
    if "unk_id" in model:
        return None if model["unk_id"] is None else int(model["unk_id"])
    name = model.get("unk_token") or token_content(tokenizer.config.get("unk_token"))
    return None if name is None else tokenizer.id_of(name)


def _byte_level(tokenizer: Tokenizer, state: dict[str, Any], pre: str | None) -> dict[str, MetadataValue]:
    model = state["model"]
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            raise ConfigError(f"a byte-level tokenizer with {key} ({model[key]!r})", hint=KEEP_FOLDER)
    composes = _composes(state)
    name = pre or pre_tokenizer_name(tokenizer.backend, state, composes=composes)
    merges = [" ".join(pair) for pair in listed_merges(model)]
    metadata: dict[str, MetadataValue] = {f"{PREFIX}pre": name, f"{PREFIX}merges": Typed("str", merges)}
    if composes != PRE_TOKENIZERS[name].composes:
        metadata[COMPOSES] = composes
    return metadata


def _composes(state: dict[str, Any]) -> bool:
    """Whether text is brought into NFC, which is the one change that llama.cpp may leave out."""
    normalizer = state["normalizer"]
    kinds = [step["type"] for step in steps_of(normalizer)]
    if kinds not in ([], ["NFC"]):
        raise ConfigError(
            f"a tokenizer that changes text first (found {str(normalizer)[:120]}), and llama.cpp does not",
            hint=KEEP_FOLDER,
        )
    return bool(kinds)


def _sentencepiece(state: dict[str, Any], model: str, tokens: list[str]) -> dict[str, MetadataValue]:
    spacing: Spacing = read_spacing(state)
    if model == UNIGRAM:
        scores = {piece: float(score) for piece, score in state["model"]["vocab"]}
    else:
        scores = piece_scores(state)
        if spacing.character_map:
            raise ConfigError(
                "a BPE tokenizer that changes text first, and llama.cpp does not", hint=KEEP_FOLDER
            )
    other = 0.0 if model == SENTENCEPIECE else _NO_SCORE
    metadata: dict[str, MetadataValue] = {
        f"{PREFIX}scores": Typed("f32", [scores.get(token, other) for token in tokens]),
        f"{PREFIX}add_space_prefix": spacing.add_space_prefix,
    }
    if model == UNIGRAM:
        metadata[f"{PREFIX}remove_extra_whitespaces"] = spacing.remove_extra_whitespaces
        if spacing.character_map:
            metadata[f"{PREFIX}precompiled_charsmap"] = Typed("u8", list(spacing.character_map))
    return metadata


def _special(tokenizer: Tokenizer, state: dict[str, Any]) -> dict[str, MetadataValue]:
    """The ids of special tokens, and which of them go around a text."""
    bare = tokenizer.encode("a")
    around = tokenizer.encode("a", special_tokens=True)
    at = next((at for at in range(len(around)) if around[at : at + len(bare)] == bare), 0)
    before, after = around[:at], around[at + len(bare) :]
    if before not in ([], [tokenizer.bos_id]) or after not in ([], [tokenizer.eos_id]):
        found = " ".join(map(tokenizer.token_text, before)), " ".join(map(tokenizer.token_text, after))
        raise ConfigError(
            f"a tokenizer that puts {found[0]!r} before and {found[1]!r} after a text; "
            "llama.cpp knows bos and eos there",
            hint="name them as bos_token and eos_token in tokenizer_config.json",
        )
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}
    ids |= {"unk": _unknown_id(tokenizer, state), "eot": _turn_end(tokenizer)}
    ids |= {what: tokenizer.named_id(what) for what in GAP_MARKS}
    named: dict[str, MetadataValue] = {
        PREFIX + ID_KEYS[what]: Typed("u32", index) for what, index in ids.items() if index is not None
    }
    return {
        **named,
        f"{PREFIX}add_bos_token": bool(before),
        f"{PREFIX}add_eos_token": bool(after),
    }


def _turn_end(tokenizer: Tokenizer) -> int | None:
    """The token that ends a turn, where eos ends whole texts only."""
    added = {token.content: index for index, token in tokenizer.backend.get_added_tokens_decoder().items()}
    ends = [added[content] for content in TURN_ENDS if content in added and content not in TEXT_ENDS]
    return None if not ends or tokenizer.eos_id in ends else ends[0]
