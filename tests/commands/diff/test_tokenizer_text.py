"""Tokenizers that differ, as text."""

from typing import Any

from llmkit.commands.diff.tokenizer_text import tokenizer_lines
from llmkit.workflows.diff.encodings import EncodingsDiff, TextDiff
from llmkit.workflows.diff.keys import KeyDiff
from llmkit.workflows.diff.tokenizer import FirstMerge, MovedToken, SpecialIds, TokenizerDiff


def tokenizer(**fields: Any) -> TokenizerDiff:
    known: dict[str, Any] = {"same": False, "sha256_a": "a", "sha256_b": "b"}
    known |= {"vocab_size_a": 1000, "vocab_size_b": 1000, "merges_a": 5, "merges_b": 4, "scores": 0}
    lists = ("only_a", "only_b", "moved", "special_ids", "settings", "chat_template", "remarks")
    known |= {name: [] for name in lists}
    return TokenizerDiff(**known | {"first_merge": None, "encodings": None} | fields)


def test_the_same_is_one_line() -> None:
    assert tokenizer_lines(tokenizer(same=True), 80) == ["tokenizer: same"]


def test_every_difference_is_told() -> None:
    found = tokenizer(
        vocab_size_b=1001,
        only_b=[MovedToken(piece="new", a=None, b=1000)],
        moved=[MovedToken(piece=f"t{n}", a=n, b=n + 1) for n in range(10)],
        first_merge=FirstMerge(number=4, a=["a", "b"], b=None),
        special_ids=[SpecialIds(role="eos", a=2, b=None)],
        settings=[KeyDiff(file="f", key="normalizer.type", a="NFC", b="NFKC", only=None)],
        chat_template=["--- a", "-old", "+new\x1b"],
        remarks=[KeyDiff(file="f", key="tokenizer_class", a="x", b="y", only=None)],
        scores=3,
    )
    text = "\n".join(tokenizer_lines(found, 200))
    assert "1,000 ids in A, 1,001 in B" in text and "1 token: 'new' 1,000" in text
    assert "10 tokens: 't0' 0 to 1, 't1' 1 to 2" in text and "and 2 more" in text
    assert "number 4 is the first to differ: 'a' + 'b', none" in text
    assert "2 in A, none in B" in text and '"NFKC"' in text and "of 3 pieces differ" in text
    assert "    -old" in text and "\x1b" not in text
    assert "does not count  tokenizer_class" in text


def test_texts_with_other_ids_are_shown_with_their_tokens() -> None:
    one = TextDiff(
        where="d.jsonl:3", id="x", tokens_a=3, tokens_b=2, first=1, pieces_a=["ab", "c"], pieces_b=["abc"]
    )
    encodings = EncodingsDiff(texts=9, differing=1, tokens_a=30, tokens_b=29, changed=[one])
    lines = tokenizer_lines(tokenizer(encodings=encodings), 80)
    assert lines[1] == "  texts: 1 of 9 get other ids (30 tokens in A, 29 in B)"
    assert lines[3].split() == ["d.jsonl:3", "from", "1", "'ab'", "'c'", "'abc'"]
