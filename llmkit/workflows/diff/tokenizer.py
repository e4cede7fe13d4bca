"""Two tokenizers: vocabulary, merges, special tokens, template, how text is cut; texts through both."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmkit.progress import SILENT, Progress
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import ROLES, TOKENIZER, TOKENIZER_CONFIG, Tokenizer, token_content
from llmkit.workflows.diff.encodings import EncodingsDiff, diff_encodings
from llmkit.workflows.diff.keys import KeyDiff, diff_keys, split_remarks

_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_LISTS = ("vocab", "merges")
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_ELSEWHERE = ("chat_template", "added_tokens_decoder")
_WHO_WROTE_IT = ("tokenizer_class", "backend", "is_local", "name_or_path", "processor_class", "legacy")


class MovedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token of both, under another id; one side's id is None where only the other has the token."""

    piece: str
    a: int | None
    b: int | None


class FirstMerge(msgspec.Struct, frozen=True, kw_only=True):
    """The first merge that is not the same, counted from 0; None where one list has ended."""

    number: int
    a: list[str] | None
    b: list[str] | None


class SpecialIds(msgspec.Struct, frozen=True, kw_only=True):
    """The id of a role that the two give to different tokens."""

    role: str
    a: int | None
    b: int | None


class TokenizerDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How two tokenizers differ."""

    same: bool
    sha256_a: str
    sha256_b: str
    vocab_size_a: int
    vocab_size_b: int
    only_a: list[MovedToken]
    only_b: list[MovedToken]
    moved: list[MovedToken]
    """In the order of ids in A."""
    scores: int
    """Pieces of both whose unigram scores differ."""
    merges_a: int | None
    merges_b: int | None
    first_merge: FirstMerge | None
    special_ids: list[SpecialIds]
    settings: list[KeyDiff]
    """Of tokenizer.json: model, normaliser, pre-tokenizer, post-processor, decoder, flags of added tokens; of
    tokenizer_config.json: the rest."""
    chat_template: list[str]
    """A unified diff; empty where the templates are the same."""
    encodings: EncodingsDiff | None
    """Of the texts that were given."""
    remarks: list[KeyDiff]
    """Differences that do not count: the class that transformers opens it with, and so on."""


def diff_tokenizers(
    a: Path, b: Path, texts: tuple[Path, ...] = (), *, progress: Progress = SILENT
) -> TokenizerDiff:
    """Compare two tokenizers, each a folder or a file in any form that llmkit reads.

    Args:
        a, b: the tokenizers.
        texts: documents to encode with both.
        progress: told of documents.

    Raises:
        MissingError: a file is not there.
        DataError: one is damaged, or a text is.
    """
    first, second = load_tokenizer(a), load_tokenizer(b)
    contents = [_content(one) for one in (first, second)]
    only_a, only_b, moved = _vocabulary(first, second)
    merges = [_merges(one) for one in contents]
    merge = _first_merge(*merges)
    scores = _different_scores(*contents)
    special = _special_ids(first, second)
    in_json, in_config = _settings(contents, TOKENIZER), _config_keys(first, second)
    settings, remarks = split_remarks([*in_json, *in_config], _WHO_WROTE_IT)
    template = _template(_templates(first), _templates(second))
    encodings = diff_encodings(first, second, texts, progress=progress) if texts else None
    alike = not (only_a or only_b or moved or merge or scores or special or settings or template)
    return TokenizerDiff(
        same=alike and (encodings is None or not encodings.differing),
        sha256_a=first.sha256,
        sha256_b=second.sha256,
        vocab_size_a=first.vocab_size,
        vocab_size_b=second.vocab_size,
        only_a=only_a,
        only_b=only_b,
        moved=moved,
        scores=scores,
        merges_a=None if merges[0] is None else len(merges[0]),
        merges_b=None if merges[1] is None else len(merges[1]),
        first_merge=merge,
        special_ids=special,
        settings=settings,
        chat_template=template,
        encodings=encodings,
        remarks=remarks,
    )


def _content(tokenizer: Tokenizer) -> dict[str, Any]:
    """tokenizer.json in the library's present form, whatever the file was."""
    return msgspec.json.decode(tokenizer.backend.to_str(), type=dict[str, Any])


def _vocabulary(a: Tokenizer, b: Tokenizer) -> tuple[list[MovedToken], list[MovedToken], list[MovedToken]]:
    """Tokens of A only, of B only, and those that moved."""
    ids_a = a.backend.get_vocab(with_added_tokens=True)
    ids_b = b.backend.get_vocab(with_added_tokens=True)
    only_a = [(index, piece) for piece, index in ids_a.items() if piece not in ids_b]
    only_b = [(index, piece) for piece, index in ids_b.items() if piece not in ids_a]
    moved = [(index, piece) for piece, index in ids_a.items() if ids_b.get(piece, index) != index]
    return (
        [MovedToken(piece=piece, a=index, b=None) for index, piece in sorted(only_a)],
        [MovedToken(piece=piece, a=None, b=index) for index, piece in sorted(only_b)],
        [MovedToken(piece=piece, a=index, b=ids_b[piece]) for index, piece in sorted(moved)],
    )


def _merges(content: Mapping[str, Any]) -> list[list[str]] | None:
    """Pairs in their order; an older library wrote each as one string with a space."""
    found = content["model"].get("merges")
    if found is None:
        return None
    return [one.split(" ", 1) if isinstance(one, str) else one for one in found]


def _first_merge(a: list[list[str]] | None, b: list[list[str]] | None) -> FirstMerge | None:
    left, right = a or [], b or []
    for number, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return FirstMerge(number=number, a=one, b=other)
    if len(left) == len(right):
        return None
    number = min(len(left), len(right))
    return FirstMerge(
        number=number,
        a=left[number] if number < len(left) else None,
        b=right[number] if number < len(right) else None,
    )


def _different_scores(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    """Of two unigram models; other models have no scores."""
    vocabularies = [one["model"]["vocab"] for one in (a, b)]
    if not all(isinstance(one, list) for one in vocabularies):
        return 0
    scores_a, scores_b = (dict(map(tuple, one)) for one in vocabularies)
    return sum(scores_b.get(piece, score) != score for piece, score in scores_a.items())


def _special_ids(a: Tokenizer, b: Tokenizer) -> list[SpecialIds]:
    pairs = [(role, getattr(a, f"{role}_id"), getattr(b, f"{role}_id")) for role in ROLES]
    return [SpecialIds(role=role, a=one, b=other) for role, one, other in pairs if one != other]


def _settings(contents: list[dict[str, Any]], file: str) -> list[KeyDiff]:
    """The rest of tokenizer.json, and how the added tokens of both behave."""
    forms: list[dict[str, Any]] = []
    for content in contents:
        model = {key: value for key, value in content["model"].items() if key not in _LISTS}
        forms.append({"model": model} | {step: content.get(step) for step in _STEPS})
    flags = [{one["content"]: one for one in content["added_tokens"]} for content in contents]
    shared = [name for name in flags[0] if name in flags[1]]
    for form, own in zip(forms, flags, strict=True):
        form["added_tokens"] = {name: _flags(own[name]) for name in shared}
    return diff_keys(file, *forms)


def _flags(token: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in token.items() if key not in ("id", "content")}


def _config_keys(a: Tokenizer, b: Tokenizer) -> list[KeyDiff]:
    """tokenizer_config.json; a special token by its text, whether it stands there as text or as an object."""
    forms = []
    for tokenizer in (a, b):
        kept = {key: value for key, value in tokenizer.config.items() if key not in _ELSEWHERE}
        tokens = {key: token_content(kept[key]) for key in _TOKENS if key in kept}
        forms.append(kept | tokens)
    return diff_keys(TOKENIZER_CONFIG, *forms)


def _templates(tokenizer: Tokenizer) -> str | None:
    """The chat template, and behind it those that have a name."""
    if not tokenizer.named_templates:
        return tokenizer.chat_template
    named = (f"{{# {name} #}}\n{text}" for name, text in sorted(tokenizer.named_templates.items()))
    return "\n".join([tokenizer.chat_template or "", *named])


def _template(a: str | None, b: str | None) -> list[str]:
    if a == b:
        return []
    left, right = ((one or "").split("\n") for one in (a, b))  # a newline at the end is a line of its own
    return list(difflib.unified_diff(left, right, "a", "b", lineterm="", n=1))
