"""Prompts made to measure, by name."""

from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.hidden import Hay, Hidden
from llmkit.probe.evaluate.needle import Needle, Tokens
from llmkit.probe.evaluate.needle_tasks import (
    TASKS,
    Material,
    Place,
    PromptMaker,
    answer_tokens,
    check_asked,
    expand_tasks,
    has_depth,
)
from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.probe.evaluate.words import WORDS

TEXT = " ".join(f"The {word} is here." for word in WORDS)


def _maker(seed: int = 0, max_tokens: int | None = None, hay: Hay | None = None) -> PromptMaker:
    tokens = Tokens(
        lambda text: list(map(ord, text)), lambda ids: "".join(map(chr, ids)), tuple(map(ord, TEXT))
    )
    if hay is None:
        hay = Hay(tuple(f"{one}." for one in TEXT.split(". ")))
    material = Material(needle=Needle(), hay=hay, tokens=tokens, seed=seed)
    return PromptMaker(material, _words, max_tokens=max_tokens)


def _words(hidden: Hidden) -> int:
    return len((hidden.prompt + hidden.prefix).split())


@pytest.mark.parametrize("task", TASKS)
def test_every_task_fills_its_length_and_leaves_room_for_the_answer(task: str) -> None:
    length = 2000
    hidden = _maker().make(Place(task=task, length=length, depth=50.0, sample=0))
    most = length - answer_tokens(task, None)
    assert most - 45 <= _words(hidden) <= most  # a line of noise is 18 words, a rare word of a list up to 42
    if task != "needle":
        assert all(answer in hidden.prompt for answer in hidden.answers)


def test_places_have_prompts_of_their_own_that_do_not_depend_on_others() -> None:
    places = [Place(task="vt", length=1000, depth=None, sample=sample) for sample in range(3)]
    maker = _maker()
    together = [maker.make(place) for place in places]
    assert together == [_maker().make(place) for place in places]
    assert len(set(together)) == 3
    assert _maker(seed=1).make(places[0]) != together[0]


def test_a_length_without_room_names_task_and_length() -> None:
    with pytest.raises(UsageError, match="vt, length 100"):
        _maker().make(Place(task="vt", length=100, depth=None, sample=0))
    with pytest.raises(UsageError, match="no room for an answer of 128"):
        _maker().make(Place(task="niah_single_1", length=100, depth=0.0, sample=0))


def test_ruler_stands_for_its_eleven_tasks() -> None:
    assert len(expand_tasks(("ruler",))) == 11
    assert expand_tasks(("vt", "ruler"))[0] == "vt"
    with pytest.raises(UsageError, match="niah_singl") as told:
        expand_tasks(("niah_singl_1",))
    assert "niah_single_1" in told.value.hint
    assert {task for task in TASKS if not has_depth(task)} == {"vt", "cwe", "fwe"}


def test_answers_have_rulers_tokens() -> None:
    assert [answer_tokens(task, None) for task in ("niah_single_1", "vt", "cwe", "fwe")] == [128, 30, 120, 50]
    assert answer_tokens("vt", 7) == 7


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        *(
            ({"needle": "x"}, "--needle"),
            ({"question": "x"}, "--question"),
            ({"answers": ("x",)}, "--answer"),
        ),
        *(({"values": "uuids"}, "--values"), ({"words": 8}, "--words")),
    ],
)
def test_what_is_of_the_task_needle_is_refused_where_that_is_not_asked(
    given: dict[str, Any], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"^{flag}: not read by niah_single_2, vt$"):
        check_asked(NeedleConfig(tasks=("niah_single_2", "vt"), **given), has_text=True)


@pytest.mark.parametrize("task", TASKS)
def test_a_text_is_refused_by_the_tasks_that_make_the_same_prompts_without_it(task: str) -> None:
    def prompt(hay: Hay) -> str | None:
        try:
            return _maker(hay=hay).make(Place(task=task, length=2000, depth=50.0, sample=0)).prompt
        except UsageError:
            return None  # it wants a text

    text = Hay(tuple(f"{one}." for one in TEXT.split(". ")))
    if task == "needle" or prompt(text) != prompt(Hay()):  # the hay of needle is tokens
        check_asked(NeedleConfig(tasks=(task,)), has_text=True)
    else:
        with pytest.raises(UsageError, match=f"--haystack: not read by {task}"):
            check_asked(NeedleConfig(tasks=(task,)), has_text=True)
        check_asked(NeedleConfig(tasks=(task, "niah_single_2")), has_text=True)


def test_depths_are_refused_where_nothing_has_a_depth() -> None:
    with pytest.raises(UsageError, match="--depths: not read by vt, cwe"):
        check_asked(NeedleConfig(tasks=("vt", "cwe"), depths=(0.0,)), has_text=False)
    check_asked(NeedleConfig(tasks=("vt", "needle"), depths=(0.0,)), has_text=False)


def test_a_needle_of_ones_own_is_not_held_to_the_answers_of_ours() -> None:
    for more in ({}, {"question": "?"}):
        with pytest.raises(UsageError, match="--needle without --answer"):
            check_asked(NeedleConfig(tasks=("needle",), needle=" {key}.", **more), has_text=False)
    check_asked(NeedleConfig(tasks=("needle",), needle=" {key}.", answers=("x",)), has_text=False)
    for reworded in ({"question": "?"}, {"answers": ("a park",)}):  # our own needle's still
        check_asked(NeedleConfig(tasks=("needle",), **reworded), has_text=False)


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"values": "numbers"}, "--values"),
        ({"needle": " {key}.", "answers": ("{key}",), "values": "numbers"}, "--values"),
        ({"words": 8}, "--words"),
        ({"needle": " {value}.", "answers": ("{value}",), "values": "numbers", "words": 8}, "--words"),
    ],
)
def test_what_is_drawn_is_refused_where_nothing_is(given: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag}: "):
        check_asked(NeedleConfig(tasks=("needle",), **given), has_text=False)
