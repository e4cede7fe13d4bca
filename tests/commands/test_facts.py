"""Facts as lines: laid out by hand, never wider than asked, and without a word of the terminal's language."""

import pytest

from llmkit.commands.facts import Facts, facts_lines, indented, plural, threads_of, title_line, visible


def test_facts_stand_in_one_column_and_go_on_under_themselves() -> None:
    facts: Facts = [("shape", "4 layers, hidden 128, mlp 352 silu"), ("made by", "llmkit pretrain")]
    assert facts_lines(facts, 30) == [
        "  shape    4 layers, hidden",
        "           128, mlp 352 silu",
        "  made by  llmkit pretrain",
    ]


def test_what_is_none_or_empty_is_left_out_and_takes_no_room_in_the_column() -> None:
    facts: Facts = [("a", "1"), ("a very long name", None), ("another", ""), ("nothing", [])]
    assert facts_lines(facts, 40) == ["  a  1"]
    assert facts_lines([("nothing", None)], 40) == facts_lines([], 40) == []


@pytest.mark.parametrize("width", [20, 33, 40])
def test_a_list_is_broken_between_its_items_only_and_fits(width: int) -> None:
    items = ["step-10 (1.0 MiB)", "step-20 (1.0 MiB)", "a b", "well-known"]
    lines = facts_lines([("n", items)], width + 5)
    assert max(map(len, lines)) <= width + 5
    for item in items:
        assert sum(item in line for line in lines) == 1
    assert " ".join(line.strip() for line in lines).removeprefix("n  ") == ", ".join(items)


def test_an_item_that_no_line_has_room_for_is_broken_at_its_blanks() -> None:
    lines = facts_lines([("checkpoints", ["step-1", "step-00000005 (500.7 KiB)"])], 38)
    assert lines == ["  checkpoints  step-1, step-00000005", f"{'':15}(500.7 KiB)"]


def test_a_word_longer_than_the_width_stays_whole_so_that_it_can_be_copied() -> None:
    digest = "0123456789abcdef" * 4
    assert [line.strip() for line in facts_lines([("sha256", f"of {digest}")], 40)] == ["sha256  of", digest]


def test_control_characters_of_a_file_are_shown_and_not_sent() -> None:
    # a safetensors file whose metadata would set the terminal's title and clear its screen
    hostile = "a\x1b]0;gone\x07\x9b2J\r\nb"
    shown = r"a\x1b]0;gone\x07\x9b2J\x0d\x0ab"
    assert visible(hostile) == shown
    assert facts_lines([("metadata", hostile), ("special", [hostile])], 80) == [
        f"  metadata  {shown}",
        f"  special   {shown}",
    ]
    assert title_line(hostile, "model", hostile) == f"{shown}: model, {shown}"
    assert visible("Grüße, 日本語 \N{NO-BREAK SPACE}🙂") == "Grüße, 日本語 \N{NO-BREAK SPACE}🙂"


def test_one_is_singular_and_any_other_number_is_not() -> None:
    assert [plural(count, "layer") for count in (0, 1, 2, 11)] == [
        "0 layers",
        "1 layer",
        "2 layers",
        "11 layers",
    ]


def test_a_title_has_its_detail_and_a_table_its_margin() -> None:
    assert title_line("run", "model", "llama") == "run: model, llama"
    assert title_line("run", "model") == title_line("run", "model", "") == "run: model"
    assert indented("a  b\n\nc") == ["  a  b", "", "  c"]


def test_threads_are_those_of_each_process_where_there_are_several() -> None:
    assert [threads_of(1, 1), threads_of(1, 2)] == ["1 thread", "2 threads"]
    assert threads_of(2, 4) == "2 processes of 4 threads"
