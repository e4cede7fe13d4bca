"""Flags of inspect-attention as the workflow takes them. What each changes is tested with the command."""

from pathlib import Path

import pytest

from llmkit.commands.inspect_attention.flags import HEADS, Asked, Files, Text, Views
from llmkit.errors import UsageError
from llmkit.workflows.inspect_attention.config import InspectFiles, InspectText, InspectViews


def test_nothing_given_is_stdin_the_table_of_heads_and_no_file() -> None:
    assert Text().config(None, is_words=False) == InspectText(given="-")
    assert Views().config() == InspectViews()
    assert InspectFiles(**vars(Files())) == InspectFiles()


def test_ids_and_a_probe_are_texts_and_stdin_is_left_alone() -> None:
    assert Text(tokens="1,17").config(None, is_words=False) == InspectText(tokens=(1, 17))
    assert Text(probe="induction").config(None, is_words=False) == InspectText(probe="induction")


def test_heads_are_taken_out_by_name_or_all_of_them() -> None:
    assert Views(ablate="1.0,3.7").config().ablate == ((1, 0), (3, 7))
    assert Views(ablate="all").config().ablate == "all"
    with pytest.raises(UsageError, match="--ablate"):
        Views(ablate="one").config()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Asked(first="run"), ("run", None)),
        (Asked(first="run", second="a b"), ("run", "a b")),
        (Asked(first="a b", model=Path("run")), ("run", "a b")),
        (Asked(model=Path("run"), prompt="a b"), ("run", "a b")),
        (Asked(first="run", prompt="a b"), ("run", "a b")),
    ],
)
def test_model_and_text_are_words_or_options(asked: Asked, found: tuple[str, str | None]) -> None:
    assert asked.model_and_text() == (Path(found[0]), found[1])


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked(), "no model"),
        (Asked(first="", second="a"), "no model"),
        (Asked(first="run", second="a", model=Path("run")), "run and --model are two models"),
        (Asked(first="run", second="a", prompt="b"), "TEXT and --prompt say the same thing twice"),
    ],
)
def test_a_model_or_text_that_is_missing_or_there_twice_is_refused(asked: Asked, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked.model_and_text()


def test_heads_alone_are_all_of_them_and_take_no_text_for_a_list() -> None:
    assert Views(heads=HEADS.left_out).config() == InspectViews()
    assert HEADS.is_value("1.0,3.7") and not HEADS.is_value("def") and not HEADS.is_value("--json")
