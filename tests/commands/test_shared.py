import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmkit.commands.shared import align, fitted, given_once, inputs_or_stdin, print_report
from llmkit.errors import UsageError


@dataclass(frozen=True)
class Report:
    rows: int
    loss: float
    schema: str = "llmkit.test/1"


def test_named_inputs_come_before_stdin_and_a_terminal_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inputs_or_stdin([Path("a")], "usage") == [Path("a")]
    read, write = os.pipe()
    with os.fdopen(read) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert inputs_or_stdin(None, "usage") == inputs_or_stdin([], "usage") == [Path("-")]
    os.close(write)
    main, terminal = os.openpty()
    with os.fdopen(terminal) as tty:
        monkeypatch.setattr(sys, "stdin", tty)
        with pytest.raises(UsageError) as caught:
            inputs_or_stdin(None, "llmkit show run")
    os.close(main)
    assert caught.value.hint == "llmkit show run"


def test_a_report_is_one_json_object_without_nan_or_text_for_people(capfdbinary) -> None:
    print_report(Report(3, float("nan")), True, str)
    assert json.loads(capfdbinary.readouterr().out) == {"schema": "llmkit.test/1", "rows": 3, "loss": None}
    print_report(Report(3, 0.5), False, lambda report: f"{report.rows} rows")
    assert capfdbinary.readouterr().out == b"3 rows\n"


def test_columns_line_up_and_end_without_blanks() -> None:
    assert align([("a", "1", "x"), ("bbb", "22", "")], right=(1,)) == "a     1  x\nbbb  22"


def test_a_cell_has_the_columns_that_a_terminal_gives_it_and_cannot_steer_the_terminal() -> None:
    rows = [("日本", "1"), ("e\u0301", "2"), ("a\x1b[1m\n", "3")]
    assert align(rows) == "日本          1\ne\u0301             2\na\\x1b[1m\\x0a  3"
    assert align(rows[:2], right=(0,)) == "日本  1\n   e\u0301  2"


def test_a_table_is_folded_where_a_terminal_ends_and_nowhere_off_one(
    terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("model.norm.weight", "BF16", "2,048"), ("lm_head.weight", "F32", "64")]
    whole = ["  model.norm.weight  BF16  2,048", "  lm_head.weight     F32      64"]
    assert align(rows, right=(2,), indent=2).split("\n") == whole
    terminal(40)
    assert align(rows, right=(2,), indent=2).split("\n") == whole
    assert align(rows, right=(2,), indent=12).split("\n")[:2] == [
        f"{'':12}model.norm.weight  BF16",
        f"{'':14}2,048",
    ]
    monkeypatch.setattr(sys, "stdout", None)
    assert align(rows, right=(2,), indent=12).split("\n") == [f"{'':10}{line}" for line in whole]


def test_a_report_on_a_terminal_has_its_lines_broken_at_blanks_and_elsewhere_whole(
    terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"a title\n  {'word ' * 9}end\n\x1b[1m{'x ' * 30}\x1b[0m"
    assert fitted(text) == text
    terminal(40)
    title, first, second, colored = fitted(text).split("\n")
    assert (title, first, second) == ("a title", f"  {'word ' * 7}".rstrip(), f"      {'word ' * 2}end")
    assert colored == text.split("\n")[-1]


def test_one_of_two_places_is_taken_and_both_are_refused() -> None:
    assert given_once({"OUT": None, "--out": 3}) == 3 and given_once({"OUT": None}) is None
    assert given_once({"OUT": 0, "--out": None}) == 0
    with pytest.raises(UsageError, match="OUT and --out say the same thing twice"):
        given_once({"OUT": 1, "--out": 1})


@pytest.mark.parametrize(
    ("quiet", "as_json", "shown"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_quiet_leaves_out_the_words_on_what_was_made_and_not_json(
    capfd: pytest.CaptureFixture[str], quiet: bool, as_json: bool, shown: bool
) -> None:
    print_report({"a": 1}, as_json, str, quiet=quiet)
    assert bool(capfd.readouterr().out) == shown
