"""gkamradt's needle, beside his own loop."""

import random

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.needle import Needle, Tokens, hide, insertion

TEXT = "One two three. Four five. Six seven eight nine. Ten."
HAY = tuple(map(ord, TEXT))


def _original(context: list[int], depth: float, periods: list[int]) -> int:
    """LLMTest_NeedleInAHaystack, `insert_needle`, depth in percent."""
    if depth == 100:
        return len(context)
    point = int(len(context) * (depth / 100))
    before = context[:point]
    while before and before[-1] not in periods:
        point -= 1
        before = context[:point]
    return point


def test_a_needle_goes_where_the_original_puts_it() -> None:
    for count in range(1, len(HAY) + 1):
        for depth in range(0, 101, 5):
            hay = list(HAY[:count])
            found = insertion(hay, depth / 100, lambda one: chr(one) == ".")
            assert found == _original(hay, depth, [ord(".")])


def _tokens() -> Tokens:
    return Tokens(lambda text: list(map(ord, text)), lambda ids: "".join(map(chr, ids)), HAY)


def test_key_and_value_stand_in_the_needle_and_the_key_in_the_question() -> None:
    task = Needle(needle=" {key}={value}.", question=" {key}=", answers=("{value}",), words=2)
    hidden = hide(task, random.Random(0), 0.5, _tokens())(30)
    value = hidden.answers[0]
    assert value in ("apple", "bread")
    assert f"={value}." in hidden.prompt
    question = hidden.prompt[hidden.prompt.rindex(" ") :]
    assert question.endswith("=") and hidden.prompt.count(question.strip()) == 2
    hay = hidden.prompt.replace(f"{question}{value}.", "").removesuffix(question)
    assert hay == TEXT[:30]


def test_the_same_seed_makes_the_same_prompt() -> None:
    task = Needle(needle=" {key} {value}.", question=" {key}", answers=("{value}",))
    first, second, other = (hide(task, random.Random(seed), 0.3, _tokens())(90) for seed in (1, 1, 2))
    assert first == second != other
    assert first.prompt.startswith(TEXT[:10])  # the text is too short, and said again


def test_doubled_braces_stand_for_one() -> None:
    task = Needle(needle=" {{{key}}} {value}.", question=" {{", answers=("{{x}}",), words=2)
    hidden = hide(task, random.Random(0), 1, _tokens())(5)
    assert hidden.answers == ("{x}",) and hidden.prompt.endswith(" {") and " {" in hidden.prompt[:8]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        *(({"needle": "{x}"}, "--needle"), ({"question": "{"}, "--question"), ({"words": 1}, "--words")),
        *(({"answers": (one,)}, "--answer") for one in ("{foo}", "{", "}", "{}", "{0}")),
        *(({"needle": one}, "--needle") for one in ("{key.foo}", "{key[0]}", "{key:{value}}", "{key!x}")),
        ({"answers": ("{value}", "{key:d}")}, "--answer"),
    ],
)
def test_braces_and_counts_of_no_use_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Needle(**given)  # type: ignore[arg-type]
