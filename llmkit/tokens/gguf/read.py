"""The tokenizer that a GGUF file carries: from its keys to a Tokenizer, as if opened from the model's folder.

The file says less than a tokenizer.json. Which tokens take the white space beside them is known of Phi-3
only, by the model's name; whether text is composed (NFC) goes by the name of the pre-tokenizer, unless the
file was written by llmkit, which says it.
"""

import re
from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers
from tokenizers.models import BPE

from llmkit.errors import DataError
from llmkit.tokens import sentencepiece as spm
from llmkit.tokens.gguf.patterns import byte_level_cut
from llmkit.tokens.gguf.vocabulary import (
    BYTE_LEVEL,
    PREFIX,
    TEMPLATE,
    UNIGRAM,
    GgufVocabulary,
    parse_vocabulary,
)
from llmkit.tokens.infill import GAP_MARKS
from llmkit.tokens.post import add_around
from llmkit.tokens.sentencepiece import SentencePieceModel, build_backend
from llmkit.tokens.tokenizer import Tokenizer

_PHI3 = ("phi-3", "phi3")
_PHI3_KEEPS = ("<unk>", "<s>", "<|endoftext|>")
"""Special tokens of Phi-3 that leave the white space after them."""


def gguf_tokenizer(metadata: Mapping[str, Any], name: str) -> Tokenizer:
    """The tokenizer of a GGUF file.

    Args:
        metadata: every key with its value, arrays whole: `read_gguf_header(path, keep_arrays=True)`'s.
        name: of the file, for messages.

    Raises:
        ConfigError: a kind of tokenizer or pre-tokenizer that is not known here; the message names it.
        DataError: a key is missing or makes no sense.
    """
    vocabulary = parse_vocabulary(metadata, name)
    ids = _ids(vocabulary, name)
    try:
        backend = (
            _byte_level(vocabulary, ids) if vocabulary.model == BYTE_LEVEL else _sentencepiece(vocabulary)
        )
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # the library throws bare Exceptions, and its panics are no Exceptions
        raise DataError(
            f"{name}: the tokenizers library refuses this tokenizer ({error})",
            hint="the file is damaged, or its merges are another model's: fetch it again",
        ) from None
    if any(part in str(metadata.get("general.name", "")).lower() for part in _PHI3):
        _strip_after(backend)
    bos = vocabulary.special("bos") if vocabulary.add_bos else None
    eos = vocabulary.special("eos") if vocabulary.add_eos else None
    for wanted, token, what in ((vocabulary.add_bos, bos, "bos"), (vocabulary.add_eos, eos, "eos")):
        if wanted and token is None:
            raise DataError(
                f"{name}: {PREFIX}add_{what}_token is true, but there is no {PREFIX}{what}_token_id",
                hint="convert the model again from where it was published",
            )
    add_around(backend, bos, eos)
    template = metadata.get(TEMPLATE)
    return Tokenizer(
        backend,
        _config(vocabulary),
        template if isinstance(template, str) else None,
        named_templates=_named_templates(metadata),
    )


def _named_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    names = (key.removeprefix(f"{TEMPLATE}.") for key in metadata if key.startswith(f"{TEMPLATE}."))
    found = {name: metadata[f"{TEMPLATE}.{name}"] for name in names if re.fullmatch(r"\w+", name)}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _ids(vocabulary: GgufVocabulary, name: str) -> dict[str, int]:
    """Of each token, those aside that only fill the table; every other one stands for itself once."""
    pairs = enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True))
    used = [(index, token) for index, (token, kind) in pairs if token and kind != spm.UNUSED]
    ids = {token: index for index, token in reversed(used)}
    if len(ids) < len(used):
        index, token = next((index, token) for index, token in used if ids[token] != index)
        raise DataError(
            f"{name}: {PREFIX}tokens has {token!r:.40} twice (ids {ids[token]} and {index})",
            hint="convert the model again from where it was published",
        )
    return ids


def _byte_level(vocabulary: GgufVocabulary, ids: dict[str, int]) -> tokenizers.Tokenizer:
    pre = vocabulary.pre
    assert pre is not None  # parse_vocabulary has it for this kind
    backend = tokenizers.Tokenizer(BPE(vocab=ids, merges=vocabulary.merges, ignore_merges=pre.ignore_merges))
    if vocabulary.composes:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = byte_level_cut(pre.patterns)
    backend.decoder = tokenizers.decoders.ByteLevel()
    _add_special(backend, vocabulary)
    return backend


def _sentencepiece(vocabulary: GgufVocabulary) -> tokenizers.Tokenizer:
    """llama and t5, whose kinds and scores are SentencePiece's own."""
    unigram = vocabulary.model == UNIGRAM
    model = SentencePieceModel(
        pieces=list(zip(vocabulary.tokens, vocabulary.scores, vocabulary.kinds, strict=True)),
        model_type=spm.UNIGRAM if unigram else spm.BPE_MODEL,
        byte_fallback=spm.BYTE in vocabulary.kinds,
        special_ids={what: vocabulary.ids.get(what, -1) for what in ("unk", "bos", "eos", "pad")},
        character_map=vocabulary.character_map,
        add_dummy_prefix=vocabulary.add_space_prefix,
        remove_extra_whitespaces=unigram and vocabulary.remove_extra_whitespaces,
    )
    return build_backend(model)


def _add_special(backend: tokenizers.Tokenizer, vocabulary: GgufVocabulary) -> None:
    kinds = (spm.CONTROL, spm.UNKNOWN, spm.USER_DEFINED)
    added = [
        AddedToken(token, special=kind != spm.USER_DEFINED, normalized=False)
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind in kinds and token
    ]
    backend.add_tokens(added)


def _strip_after(backend: tokenizers.Tokenizer) -> None:
    """Let special tokens take the white space after them, but for a few."""
    tokens = backend.get_added_tokens_decoder()
    backend.add_tokens(
        [
            AddedToken(one.content, special=one.special, normalized=False, rstrip=True)
            for _, one in sorted(tokens.items())
            if one.content not in _PHI3_KEEPS
        ]
    )


def _config(vocabulary: GgufVocabulary) -> dict[str, Any]:
    """What tokenizer_config.json would say."""
    names = ("bos", "eos", "unk", "pad", *GAP_MARKS)
    tokens = {f"{what}_token": vocabulary.special(what) for what in names}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": vocabulary.add_eos,
        "clean_up_tokenization_spaces": False,
        **{name: token for name, token in tokens.items() if token is not None},
    }
