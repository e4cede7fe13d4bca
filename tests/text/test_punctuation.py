"""The sets of characters: their sizes are datatrove's, and a few that count."""

from llmkit.text.punctuation import SYMBOLS, TERMINAL


def test_end_marks_are_the_159_of_datatrove() -> None:
    assert len(TERMINAL) == 159
    assert set(".?!。।؟") <= TERMINAL and not set("…:;,\"'") & TERMINAL


def test_signs_hold_end_marks_and_control_characters_but_no_tab_newline_or_letter() -> None:
    assert TERMINAL <= SYMBOLS
    assert "\x00" in SYMBOLS and "\x9f" in SYMBOLS
    assert not set("\t\na0#$é") & (SYMBOLS - set("#$"))
