"""The token view, by hand: a byte is a token, and nothing of the text steers the terminal."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.run import Run
from llmkit.workflows.tokenize.view import BACKGROUNDS, RESET, token_texts, write_view

MakeRun = Callable[..., Run]


def _shown(run: Run) -> str:
    write_view(run)
    content: bytes = run.stream.getvalue()  # type: ignore[attr-defined]
    return content.decode()


def test_marks_stand_between_tokens(make_run: MakeRun) -> None:
    assert _shown(make_run("ab c", mode="view", bos=True)) == "<|endoftext|>│a│b│ │c\n"


def test_bytes_of_a_character_are_shown_as_what_they_are(
    make_run: MakeRun, byte_tokenizer: Tokenizer
) -> None:
    assert _shown(make_run("é!", mode="view")) == "<c3>│<a9>│!\n"
    ids = np.array([0x41, 0x80, 257, 258], np.uint32)
    assert token_texts(byte_tokenizer, ids) == ["A", "<80>", "<|im_start|>", "<|im_end|>"]


def test_a_line_feed_is_seen_and_ends_the_line(make_run: MakeRun) -> None:
    assert _shown(make_run("a\n\nb", mode="view")) == "a│↵\n│↵\n│b\n"
    assert _shown(make_run("a\n", mode="view")) == "a│↵\n"


def test_documents_are_a_line_apart_and_an_empty_one_is_an_empty_line(make_run: MakeRun) -> None:
    assert _shown(make_run("a", "b\n", "", "c", mode="view")) == "a\n\nb│↵\n\n\n\nc\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31m", r"\x1b│[│3│1│m"), ("\t\r\0", r"\t│\r│\x00"), ("\x7f", r"\x7f"), ("\\x1b", "\\│x│1│b")],
)
def test_no_control_character_reaches_the_terminal(make_run: MakeRun, text: str, shown: str) -> None:
    assert _shown(make_run(text, mode="view")) == shown + "\n"


def _words(*words: str) -> Tokenizer:
    """Each of these is a token, and stands between two @."""
    backend = Backend(WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    backend.pre_tokenizer = Split("@", "removed")
    return Tokenizer(backend)


def test_what_a_byte_does_not_hold_is_escaped_at_its_full_width(make_run: MakeRun) -> None:
    words = ("a\u200db", "\u3000", "\U000e0041", "日")
    assert _shown(make_run("@".join(words), tokenizer=_words(*words), mode="view")) == (
        "a\\u200db│\\u3000│\\U000e0041│日\n"
    )


def test_every_line_of_a_token_has_its_colour_and_no_line_feed_has_any(make_run: MakeRun) -> None:
    words = ("x", "\n\n  y", "z")
    shown = _shown(make_run("@".join(words), tokenizer=_words(*words), mode="view", color=True))
    one, two, three, _ = BACKGROUNDS
    assert shown == (
        f"{one}x{RESET}{two}↵{RESET}\n"
        f"{two}↵{RESET}\n"
        f"{two}  y{RESET}{three}z{RESET}\n"
    )  # fmt: skip


@pytest.mark.parametrize("text", ["abcdef", "a\nb\n", "", "\x1b[0m\n\n", "éé"])
def test_colours_take_turns_and_change_no_text(make_run: MakeRun, text: str) -> None:
    coloured = _shown(make_run(text, mode="view", color=True))
    plain = _shown(make_run(text, mode="view")).replace("│", "")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    starts = [code for code in re.findall(r"\x1b\[[\d;]*m", coloured) if code != RESET]
    assert starts == [BACKGROUNDS[number % 4] for number in range(len(text.encode()))]
    assert len(set(BACKGROUNDS)) == 4
