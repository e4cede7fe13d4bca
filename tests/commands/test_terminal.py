"""How wide a report is: a real terminal's own columns within reason, 80 where there is none."""

import os
import sys
from collections.abc import Callable

import pytest

from llmkit.commands.terminal import terminal_columns, text_width, wrap_words

Resize = Callable[[int], None]


@pytest.mark.parametrize(("columns", "width"), [(10, 40), (40, 40), (97, 97), (110, 110), (300, 110)])
def test_a_terminals_columns_count_between_40_and_110(terminal: Resize, columns: int, width: int) -> None:
    terminal(columns)
    assert text_width() == width


def test_a_terminal_that_does_not_know_its_size_gets_80_columns(terminal: Resize) -> None:
    terminal(0)
    assert text_width() == 80


def test_columns_in_the_environment_come_before_the_terminals(
    terminal: Resize, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(97)
    monkeypatch.setenv("COLUMNS", "63")
    assert text_width() == 63


def test_a_pipe_and_no_stdout_get_80_columns_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert text_width() == 80
    os.close(read)
    monkeypatch.setattr(sys, "stdout", None)
    assert text_width() == 80


def test_a_table_may_be_as_wide_as_the_terminal_and_off_one_as_it_is(
    terminal: Resize, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns, width in ((10, 40), (300, 300)):
        terminal(columns)
        assert terminal_columns() == width
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal_columns() is None


def test_words_are_wrapped_by_the_columns_that_they_take() -> None:
    assert wrap_words("one two three", 7, after="  ") == ["one two", "  three"]
    assert wrap_words("日本 語 a", 7) == ["日本 語", "a"]


def test_a_word_wider_than_the_room_stays_whole_and_where_it_is() -> None:
    assert wrap_words("B  /a/long/path: run", 10, after="  ") == ["B  /a/long/path:", "  run"]
