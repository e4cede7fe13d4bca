"""RULER's needles."""

import random
import re

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.hidden import Hay
from llmkit.probe.evaluate.ruler_niah import NIAH, hide

HAY = Hay(tuple(f"Sentence {number}." for number in range(40)))
NEEDLE = re.compile(r"One of the special magic (\w+) for (\S+) is: (\S+)\.")


def test_niah_single_1_is_the_papers_prompt() -> None:
    hidden = hide(NIAH["niah_single_1"], random.Random(0), 0.5, Hay())(4)
    [(_, key, value)] = NEEDLE.findall(hidden.prompt)
    noise = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
    needle = f"One of the special magic numbers for {key} is: {value}."
    assert hidden.prompt == (
        "A special magic number is hidden within the following text. Make sure to memorize it. "
        "I will quiz you about the number afterwards.\n"
        f"{noise}\n{noise}\n{needle}\n{noise}\n{noise}\n"
        f"What is the special magic number for {key} mentioned in the provided text?"
    )
    assert hidden.prefix == f" The special magic number for {key} mentioned in the provided text is"
    assert hidden.answers == (value,)


@pytest.mark.parametrize(
    ("name", "needles", "asked"),
    [
        ("niah_single_1", 1, 1),
        ("niah_single_2", 1, 1),
        ("niah_single_3", 1, 1),
        ("niah_multikey_1", 4, 1),
        ("niah_multikey_2", 21, 1),
        ("niah_multikey_3", 21, 1),
        ("niah_multivalue", 4, 4),
        ("niah_multiquery", 4, 4),
    ],
)
def test_each_task_has_its_needles_and_asks_for_its_own(name: str, needles: int, asked: int) -> None:
    hidden = hide(NIAH[name], random.Random(3), 0.5, HAY)(20)
    found = NEEDLE.findall(hidden.prompt)
    assert (len(found), len(hidden.answers)) == (needles, asked)
    question = hidden.prompt.rpartition("\n")[2]
    wanted = {value for _, key, value in found if key in question}
    assert wanted == set(hidden.answers)
    assert hidden.prefix.startswith(" The special magic")


@pytest.mark.parametrize("name", list(NIAH))
def test_the_needle_asked_for_stands_at_the_depth(name: str) -> None:
    for depth, place in ((0.0, 0), (0.5, 10), (1.0, 20)):
        hidden = hide(NIAH[name], random.Random(1), depth, HAY)(20)
        context = hidden.prompt.partition("\n")[2].rpartition("\n")[0]
        before = context[: context.index(hidden.answers[0])]
        if NIAH[name].hay == "text":
            assert before.count("Sentence") == place
        elif NIAH[name].hay == "noise":
            assert before.count("grass") == place
        else:
            assert before.count("\n") == place


def test_a_text_task_needs_a_text() -> None:
    with pytest.raises(UsageError, match="hides its needles in a text"):
        hide(NIAH["niah_single_2"], random.Random(0), 0.5, Hay())
