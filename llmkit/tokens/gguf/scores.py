"""SentencePiece tokenizers as GGUF's `llama` and `t5` have them: what a tokenizer.json says in other words.

llama.cpp joins the two neighbours whose whole has the best score, wherever it was cut. A tokenizer.json
lists each cut as a merge of its own. Both give the same tokens if every cut of a piece is listed, and the
pieces come one after another; then the place of a piece is its score. `piece_scores` checks that.
"""

import base64
from dataclasses import dataclass
from typing import Any

from llmkit.errors import ConfigError
from llmkit.tokens.gguf.vocabulary import KEEP_FOLDER, listed_merges
from llmkit.tokens.pieces import SPACE_MARK
from llmkit.tokens.sentencepiece import MARKS_AT_END, NORMAL, SentencePieceModel, merges_by_score
from llmkit.tokens.steps import steps_of

_TRIMS = (r"\A +| +\z", "^ +| +$")
"""Of SentencePiece, and as people have written it by hand."""
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@dataclass(frozen=True)
class Spacing:
    """How text is prepared before pieces are looked for."""

    add_space_prefix: bool
    remove_extra_whitespaces: bool = False
    character_map: bytes = b""
    first_only: bool = False
    """The space goes before the text alone; llama.cpp puts one before each part between special tokens."""


def read_spacing(state: dict[str, Any]) -> Spacing:
    """How a SentencePiece tokenizer prepares text.

    Args:
        state: its tokenizer.json.

    Raises:
        ConfigError: a step that llama.cpp does not do.
    """
    prefix = first_only = escaped = extra = False
    character_map = b""
    for step in steps_of(state["normalizer"]):
        pattern = step.get("pattern") or {}
        match step["type"]:
            case "Prepend" if step["prepend"] == SPACE_MARK:
                prefix = True
            case "Replace" if pattern.get("String") == " " and step["content"] == SPACE_MARK:
                escaped = True
            case "Precompiled":
                character_map = base64.b64decode(step["precompiled_charsmap"])
            case "Replace" if pattern.get("Regex") in _TRIMS and step["content"] == "":
                extra = True
            case "Replace" if pattern.get("Regex") == " {2,}" and step["content"] == " " and extra:
                pass
            case "Replace" if pattern.get("Regex") == MARKS_AT_END and step["content"] == "" and extra:
                pass  # of the text's own, which llama.cpp keeps
            case _:
                raise _strange("normalizer", step)
    for step in steps_of(state["pre_tokenizer"]):
        match step["type"]:
            case "Metaspace" if step["replacement"] == SPACE_MARK and not escaped:
                scheme = step.get("prepend_scheme") or ("always" if step.get("add_prefix_space") else "never")
                prefix, first_only, escaped = scheme != "never", scheme == "first", True
                _check_words(state, step)
            case "WhitespaceSplit" if character_map:
                extra = True  # the map has made every white space a space
            case "Split" if step["pattern"].get("String") == " " and escaped:
                pass  # no space is left
            case "Split" if (
                step["pattern"].get("String") == SPACE_MARK and step["behavior"] == "MergedWithNext"
            ):
                _check_words(state, {"split": True})
            case _:
                raise _strange("pre_tokenizer", step)
    if not escaped:
        raise ConfigError(f"a tokenizer that does not write spaces as {SPACE_MARK}", hint=KEEP_FOLDER)
    return Spacing(prefix, extra, character_map, first_only)


def piece_scores(state: dict[str, Any]) -> dict[str, float]:
    """Scores of a BPE model's pieces that make llama.cpp join them in the order of its merges.

    Args:
        state: its tokenizer.json.

    Raises:
        ConfigError: no scores do; or a character could have no token.
    """
    model = state["model"]
    missing = next((one for one in _BYTES if one not in model["vocab"]), None)
    if not model.get("byte_fallback") or missing is not None:
        raise ConfigError(
            f"a tokenizer without tokens for bytes ({missing or 'byte_fallback is off'})", hint=KEEP_FOLDER
        )
    merges = listed_merges(model)
    added = {token["content"] for token in state["added_tokens"]}
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    normal = [piece for piece in pieces if piece not in added and piece not in _BYTES]
    scores = _places(merges)
    last = -float(len(merges))  # of pieces that nothing makes, single characters among them
    scores |= {piece: last - place for place, piece in enumerate(normal) if piece not in scores}
    made = merges_by_score(SentencePieceModel([(piece, scores[piece], NORMAL) for piece in normal]))
    if _by_piece(made) != _by_piece(merges):
        raise ConfigError(
            "this tokenizer's merges do not go by pieces: llama.cpp would join others first", hint=KEEP_FOLDER
        )
    return scores


def _places(merges: list[tuple[str, str]]) -> dict[str, float]:
    """Scores of the pieces that merges make, from 0 down; pieces that take turns share one."""
    spans: dict[str, list[int]] = {}
    for place, (left, right) in enumerate(merges):
        spans.setdefault(left + right, [place, place])[1] = place
    scores: dict[str, float] = {}
    end, score = -1, 0
    for number, (piece, (first, last)) in enumerate(spans.items()):
        if first > end:
            score = number
        end = max(end, last)
        scores[piece] = -float(score)
    return scores


def _by_piece(merges: list[tuple[str, str]]) -> list[tuple[str, frozenset[int]]]:
    """Pieces in the order in which they are made, each with the places where it is cut."""
    found: list[tuple[str, set[int]]] = []
    for left, right in merges:
        if not found or found[-1][0] != left + right:
            found.append((left + right, set()))
        found[-1][1].add(len(left))
    return [(whole, frozenset(cuts)) for whole, cuts in found]


def _check_words(state: dict[str, Any], step: dict[str, Any]) -> None:
    """Where text is cut at spaces, no piece may go across them: llama.cpp does not cut."""
    vocabulary = state["model"]["vocab"]
    pieces = vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary)
    across = next((one for one in pieces if SPACE_MARK in one[1:]), None)
    if step.get("split", True) and across is not None:
        raise ConfigError(
            f"a tokenizer that cuts text at spaces and has a token across them ({across!r})", hint=KEEP_FOLDER
        )


def _strange(part: str, step: dict[str, Any]) -> ConfigError:
    return ConfigError(
        f"a tokenizer whose {part} has a step that llama.cpp has not (found {str(step)[:120]})",
        hint=KEEP_FOLDER,
    )
