"""tokenizer.model files, read without the sentencepiece package; ids are compared in test_load.py."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import normalizers

from llmkit.errors import DataError
from llmkit.tokens.sentencepiece import MARKS_AT_END, parse_model, read_sentencepiece
from llmkit.tokens.tokenizer import Tokenizer, canonical_json


def _train(**options: object) -> bytes:
    """A model from the library itself: the independent source of this file."""
    text = Path(__file__).read_text(encoding="utf-8").splitlines() * 3
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, minloglevel=3, hard_vocab_limit=False, **options
    )
    return model.getvalue()


def test_every_field_of_a_published_model_is_read(shared_data: Path) -> None:
    path = shared_data / "tokenizers" / "llama2" / "tokenizer.model"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    model = parse_model(path.read_bytes())
    assert len(model.pieces) == theirs.get_piece_size() == 32_000
    for index, (piece, score, kind) in enumerate(model.pieces):
        assert (piece, score) == (theirs.id_to_piece(index), theirs.get_score(index))
        assert (kind == 6, kind == 3) == (theirs.is_byte(index), theirs.is_control(index))
    assert (model.byte_fallback, model.remove_extra_whitespaces, model.add_dummy_prefix) == (
        True,
        False,
        True,
    )
    assert model.special("pad") is None and model.special("bos") == "<s>"


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
@pytest.mark.parametrize(
    "options",
    [
        {"byte_fallback": True},
        {"add_dummy_prefix": False, "normalization_rule_name": "identity"},
        {"remove_extra_whitespaces": False, "user_defined_symbols": ["<tool>"]},
        {"split_by_whitespace": False, "pad_id": 3},
    ],
    ids=lambda options: "-".join(options),
)
def test_options_of_training_reach_the_ids(model_type: str, options: dict[str, object]) -> None:
    content = _train(model_type=model_type, vocab_size=400, **options)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=content)
    backend, model = read_sentencepiece(content, "m")
    for text in (
        "  The library   itself:\n\n  of this file",
        "é 日本 ∑ “quoted” ﬁ",
        "",
        "a  ",
        "a▁ ",
        "▁▁",
        "▁a▁▁b ▁ ",
        "import sentencepiece",
    ):
        assert backend.encode(text).ids == theirs.encode(text), text
    assert model.special("pad") == ("<pad>" if "pad_id" in options else None)


def test_a_user_defined_piece_stays_whole() -> None:
    content = _train(model_type="bpe", vocab_size=400, user_defined_symbols=["<tool>"])
    backend, _ = read_sentencepiece(content, "m")
    theirs = sentencepiece.SentencePieceProcessor(model_proto=content)
    index = theirs.piece_to_id("<tool>")
    assert index in backend.encode("a <tool> b").ids and index in theirs.encode("a <tool> b")


def test_kinds_that_are_not_read_are_named() -> None:
    for model_type in ("char", "word"):
        with pytest.raises(DataError, match=model_type.upper()):
            read_sentencepiece(_train(model_type=model_type, vocab_size=80), "m")
    with pytest.raises(DataError, match="suffixes"):
        read_sentencepiece(_train(vocab_size=200, treat_whitespace_as_suffix=True), "m")


def test_any_cut_is_noticed_or_leaves_whole_pieces() -> None:
    content = _train(model_type="bpe", vocab_size=300)
    for end in range(0, 400):
        try:
            parse_model(content[:end])
        except (ValueError, IndexError):
            continue
        assert all(isinstance(piece, str) for piece, _, _ in parse_model(content[:end]).pieces)


def test_the_digest_leaves_out_the_step_for_marks_at_the_end() -> None:
    """What was packed before there was one goes on."""
    content = _train(model_type="unigram", vocab_size=400)
    (backend, _), (older, _) = read_sentencepiece(content, "m"), read_sentencepiece(content, "m")
    *steps, last = json.loads(backend.to_str())["normalizer"]["normalizers"]
    assert last["pattern"] == {"Regex": MARKS_AT_END}
    older.normalizer = normalizers.Sequence([older.normalizer[place] for place in range(len(steps))])
    before, now = Tokenizer(older), Tokenizer(backend)
    read_again = Tokenizer(backend, content=canonical_json(backend))
    assert canonical_json(older) != canonical_json(backend)
    assert before.sha256 == now.sha256 == read_again.sha256
