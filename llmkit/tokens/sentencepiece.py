"""SentencePiece's tokenizer.model: a protobuf message that says pieces, scores and how text is normalised.

Read here without the sentencepiece package: of the whole message a tokenizer needs a dozen fields. BPE (with
byte fallback, as Llama 2) and unigram (as T5) are built with `tokenizers`.

A character map does there what it does in transformers' fast tokenizers, which is not all that it does in
SentencePiece: of a letter in several code points whose beginning has a rule the other marks are dropped (ế as
e and two accents becomes ê), and Hangul in single letters is not put together. Text in NFC has hardly any of
these; `llmkit doctor` tells of such a tokenizer.

Source: google/sentencepiece `src/sentencepiece_model.proto`; the order of merges is transformers'
`convert_slow_tokenizer.py`, generate_merges.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram

from llmkit.errors import DataError
from llmkit.tokens.pieces import SPACE_MARK

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE_MODEL = 1, 2
MARKS_AT_END = rf"{SPACE_MARK}+\z"
"""What goes with extra white space: spaces are marks by then, and a mark of the text is one of them."""
_MODEL_TYPES = {3: "WORD", 4: "CHAR"}


@dataclass
class SentencePieceModel:
    """The fields of ModelProto that decide ids; defaults as the .proto has them."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    """Piece, score, kind; the position is the id."""
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    space_is_suffix: bool = False
    special_ids: dict[str, int] = field(default_factory=lambda: {"unk": 0, "bos": 1, "eos": 2, "pad": -1})
    character_map: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True

    def special(self, name: str) -> str | None:
        """The piece that is bos, eos, unk or pad; None where the model was trained without it."""
        index = self.special_ids[name]
        return self.pieces[index][0] if 0 <= index < len(self.pieces) else None


def read_sentencepiece(content: bytes, name: str) -> tuple[Tokenizer, SentencePieceModel]:
    """A tokenizer.model as a tokenizer, and the message it was built from.

    Raises:
        DataError: not such a file, cut short, or a kind that is not BPE or unigram.
    """
    try:
        model = parse_model(content)
    except (ValueError, IndexError, struct.error) as error:
        raise DataError(f"{name}: not a SentencePiece model ({error})", hint="fetch the file again") from None
    if not model.pieces:
        raise DataError(f"{name}: not a SentencePiece model (no pieces)", hint="fetch the file again")
    if model.model_type not in (UNIGRAM, BPE_MODEL) or model.space_is_suffix:
        kind = _MODEL_TYPES.get(model.model_type, "with spaces as suffixes")
        raise DataError(
            f"{name}: a SentencePiece model of a kind that is not read ({kind})",
            hint="BPE and UNIGRAM with spaces in front are; use the model's tokenizer.json",
        )
    return build_backend(model), model


def parse_model(content: bytes) -> SentencePieceModel:
    """The message's fields.

    Raises:
        ValueError, IndexError, struct.error: the bytes are not this message.
    """
    model = SentencePieceModel()
    for number, value in _fields(content):
        if number == 1:
            model.pieces.append(_piece(_message(value)))
        elif number == 2:
            _read_trainer(model, _message(value))
        elif number == 3:
            _read_normalizer(model, _message(value))
    return model


def build_backend(model: SentencePieceModel) -> Tokenizer:
    """The tokenizer that gives SentencePiece's ids.

    As in transformers, each stretch between special tokens gets its own leading space.
    """
    unknown = model.special("unk")
    if model.model_type == UNIGRAM:
        scores = [(piece, score) for piece, score, _ in model.pieces]
        backend = Tokenizer(Unigram(scores, model.special_ids["unk"], model.byte_fallback))
    else:
        vocabulary = {piece: index for index, (piece, _, _) in enumerate(model.pieces)}
        merges = merges_by_score(model)
        backend = Tokenizer(
            BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=model.byte_fallback)
        )
    steps = _normalizers(model)
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    if model.model_type == UNIGRAM and _split_at_spaces(model):  # the same ids, word by word
        backend.pre_tokenizer = pre_tokenizers.Split(SPACE_MARK, behavior="merged_with_next")
    backend.decoder = _decoder(model)
    for piece, _, kind in model.pieces:
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            special = kind != USER_DEFINED
            backend.add_tokens([AddedToken(piece, special=special, normalized=False)])
    return backend


def merges_by_score(model: SentencePieceModel) -> list[tuple[str, str]]:
    """Every way to join two pieces to a third, the best score first: SentencePiece merges by score."""
    ids = {piece: index for index, (piece, _, kind) in enumerate(model.pieces) if kind == NORMAL}
    merges = []
    for whole, index in ids.items():
        cuts = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
        parts = [(left, right) for left, right in cuts if left in ids and right in ids]
        parts.sort(key=lambda part: (ids[part[0]], ids[part[1]]))
        merges += [(-model.pieces[index][1], len(left), len(right), left, right) for left, right in parts]
    merges.sort(key=lambda merge: (merge[0], -merge[1], -merge[2]))
    return [(left, right) for *_, left, right in merges]


def _split_at_spaces(model: SentencePieceModel) -> bool:
    """Whether no piece holds a space beyond its start, so that words can be taken one by one."""
    return not any(
        SPACE_MARK in piece.lstrip(SPACE_MARK) or SPACE_MARK * 2 in piece for piece, _, _ in model.pieces
    )


def _normalizers(model: SentencePieceModel) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = []
    if model.character_map:
        steps.append(normalizers.Precompiled(model.character_map))
    if model.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if model.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE_MARK if model.escape_whitespaces else " "))
    if model.escape_whitespaces:
        steps.append(normalizers.Replace(" ", SPACE_MARK))
        if model.remove_extra_whitespaces:
            steps.append(normalizers.Replace(Regex(MARKS_AT_END), ""))
    return steps


def _decoder(model: SentencePieceModel) -> decoders.Decoder:
    steps: list[decoders.Decoder] = [decoders.Replace(SPACE_MARK, " ")]
    if model.byte_fallback:
        steps.append(decoders.ByteFallback())
    steps.append(decoders.Fuse())
    if model.add_dummy_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def _piece(message: dict[int, bytes | int]) -> tuple[str, float, int]:
    text = _as_bytes(message[1]).decode()
    score = struct.unpack("<f", _as_bytes(message[2]))[0] if 2 in message else 0.0
    return text, score, _as_int(message.get(3, NORMAL))


def _read_trainer(model: SentencePieceModel, message: dict[int, bytes | int]) -> None:
    model.model_type = _as_int(message.get(3, UNIGRAM))
    model.space_is_suffix = bool(message.get(24, 0))
    model.byte_fallback = bool(message.get(35, 0))
    for number, name in ((40, "unk"), (41, "bos"), (42, "eos"), (43, "pad")):
        if number in message:
            value = _as_int(message[number])
            model.special_ids[name] = value - (1 << 64) if value >> 63 else value  # -1: none


def _read_normalizer(model: SentencePieceModel, message: dict[int, bytes | int]) -> None:
    model.character_map = _as_bytes(message.get(2, b""))
    model.add_dummy_prefix = bool(message.get(3, True))
    model.remove_extra_whitespaces = bool(message.get(4, True))
    model.escape_whitespaces = bool(message.get(5, True))


def _message(value: bytes | int) -> dict[int, bytes | int]:
    """The fields of a nested message; of a repeated one the last."""
    return dict(_fields(_as_bytes(value)))


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a protobuf message: an int for varints, bytes for the rest.

    Source: protobuf.dev/programming-guides/encoding.
    """
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(content, position)
            yield key >> 3, value
            continue
        length, position = _varint(content, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + length > len(content):
            raise ValueError("cut short")
        yield key >> 3, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position


def _as_bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes were expected")
    return value


def _as_int(value: bytes | int) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number was expected")
    return value
