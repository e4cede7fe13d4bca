"""Paragraphs and lines, cut out and put together."""

import pytest

from llmkit.text.exact_pieces import spans, split_pieces, without

TEXT = "First paragraph with enough words here.\n\nShort.\n \nSecond one,\nover two lines of text.\n"


def test_paragraphs_end_at_blank_lines_and_short_ones_are_left_alone() -> None:
    pieces = split_pieces(TEXT, "paragraph")
    assert [TEXT[a:b] for a, b in spans(pieces)] == [
        "First paragraph with enough words here.",
        "Second one,\nover two lines of text.\n",
    ]


def test_lines_end_at_their_breaks() -> None:
    pieces = split_pieces("one two three\r\nfour five\n\nsix", "line", min_words=1)
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 13), (15, 24), (26, 29)]


def test_white_space_does_not_count_and_letters_do() -> None:
    same, other = (
        [split_pieces(text, "paragraph")[0].digest for text in texts]
        for texts in (("a  b c\nd e", " a b c d\te "), ("a b c d e", "A b c d e"))
    )
    assert same[0] == same[1] and other[0] != other[1]


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([0], "Short.\n \nSecond one,\nover two lines of text.\n"),
        ([1], "First paragraph with enough words here.\n\nShort."),
        ([0, 1], "Short."),
        ([], TEXT),
    ],
)
def test_a_piece_goes_with_the_break_behind_it(gone: list[int], left: str) -> None:
    pieces = split_pieces(TEXT, "paragraph")
    assert without(TEXT, [pieces[number] for number in gone]) == left


def test_a_text_of_one_piece_without_it_is_empty() -> None:
    text = "only this one paragraph here"
    assert without(text, split_pieces(text, "paragraph")) == ""
