"""A rule holds the answer and leaves the thoughts before it free, whatever the model likes best."""

import random
from collections.abc import Iterable
from typing import get_args

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, pre_tokenizers

from llmkit.engine.after_thoughts import Marks, after_thoughts, marks_of
from llmkit.engine.grammar import Grammar, Grammars, Matcher
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.bodies import HARMONY_MARKS
from llmkit.tokens.tools.thoughts import Place, ThoughtForm, thought_form_of

pytest.importorskip("llguidance")

FORM = ThoughtForm("<think>", "</think>")
ANSWER = "<|start|>assistant<|channel|>final<|message|>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Every byte, and the marks as tokens of their own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({one: number for number, one in enumerate(alphabet)}, [])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(mark, special=False) for mark in ("<think>", "</think>")])
    backend.add_special_tokens(
        [AddedToken(mark, special=True) for mark in ("<|return|>", *HARMONY_MARKS[:5])]
    )
    return Tokenizer(backend, {"eos_token": "<|return|>"}, "<think></think>")


@pytest.fixture(scope="module")
def marks(tokenizer: Tokenizer) -> Marks:
    found = marks_of(FORM, tokenizer)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def channels(tokenizer: Tokenizer) -> Marks:
    """gpt-oss's, of which one is several tokens."""
    form = thought_form_of(tokenizer.with_template("<|channel|><|message|>"))
    assert form is not None
    found = marks_of(form, tokenizer)
    assert found is not None and len(found.begin) > 2
    return found


@pytest.fixture(scope="module")
def yes(tokenizer: Tokenizer) -> Grammar:
    return Grammars(tokenizer, tokenizer.vocab_size).compile_rule(("regex", "yes|no"))


def started(grammar: Grammar, marks: Marks, place: Place, tokenizer: Tokenizer) -> Matcher:
    return bounded(grammar, marks, place, tokenizer, None)


def bounded(
    grammar: Grammar | None, marks: Marks, place: Place, tokenizer: Tokenizer, budget: int | None
) -> Matcher:
    held = after_thoughts(grammar, marks, place, vocab_size=tokenizer.vocab_size, budget=budget)
    assert held is not None and tokenizer.eos_id is not None
    return held.start([tokenizer.eos_id])


def follow(matcher: Matcher, ids: Iterable[int]) -> bool:
    """Whether each token was allowed when it came."""
    for one in ids:
        if not matcher.allowed()[one]:
            return False
        matcher.consume(one)
    return True


@pytest.mark.parametrize(
    ("place", "text", "is_allowed"),
    [
        ("before", "<think>no, no</think>yes", True),
        ("before", "<think>no</think>\nyes", True),
        ("before", "yes", True),
        ("before", "y<think>", False),
        ("before", "\nyes", False),
        ("before", "<think>no</think>\n\nyes", False),  # two tokens of this tokenizer; one is enough
        ("before", "<think>no</think><think>", False),
        ("before", "<think>no</think>maybe", False),
        ("within", "it is</think>no", True),
        ("within", "<think>again</think>no", True),
        ("within", "no", True),  # all of it thought
        ("after", "yes", True),
        ("after", "<think>", False),
    ],
)
def test_thoughts_are_free_and_the_answer_is_held(
    place: Place, text: str, is_allowed: bool, tokenizer: Tokenizer, marks: Marks, yes: Grammar
) -> None:
    matcher = started(yes, marks, place, tokenizer)
    assert follow(matcher, tokenizer.encode(text)) == is_allowed


@pytest.mark.parametrize(
    ("text", "is_complete"), [("</think>yes", True), ("yes", False), ("</think>ye", False)]
)
def test_a_text_is_complete_with_its_answer_and_never_ends_within_thoughts(
    text: str, is_complete: bool, tokenizer: Tokenizer, marks: Marks, yes: Grammar
) -> None:
    matcher = started(yes, marks, "within", tokenizer)
    assert follow(matcher, tokenizer.encode(text)) and matcher.is_complete == is_complete
    if not is_complete:
        assert not matcher.allowed()[tokenizer.eos_id]


def test_an_answer_after_thoughts_is_held_to_what_it_would_be_without_them(
    tokenizer: Tokenizer, marks: Marks
) -> None:
    rule = ("json_schema", '{"type": "array", "items": {"type": "boolean"}}')
    grammar = Grammars(tokenizer, tokenizer.vocab_size).compile_rule(rule)
    assert tokenizer.eos_id is not None
    plain, held = grammar.start([tokenizer.eos_id]), started(grammar, marks, "within", tokenizer)
    assert follow(held, [*tokenizer.encode("so "), marks.end, *tokenizer.encode("\n")])
    chance = random.Random(0)
    while not plain.is_complete:
        allowed = plain.allowed()
        assert not held.is_complete and (held.allowed() == allowed).all()
        token = chance.choice([int(one) for one in allowed.nonzero()[0]])
        plain.consume(token)
        held.consume(token)
    assert held.is_complete


def test_marks_that_are_no_tokens_leave_the_rule_as_it_is(tokenizer: Tokenizer, yes: Grammar) -> None:
    assert marks_of(ThoughtForm("[THINK]", "[/THINK]"), tokenizer) is None
    size = tokenizer.vocab_size
    for place in get_args(Place):
        assert after_thoughts(yes, None, place, vocab_size=size, budget=3) is yes
    assert after_thoughts(yes, None, None, vocab_size=size) is yes


def test_without_thoughts_or_a_budget_a_free_text_stays_free(tokenizer: Tokenizer, marks: Marks) -> None:
    size = tokenizer.vocab_size
    assert after_thoughts(None, marks, None, vocab_size=size, budget=3) is None
    assert after_thoughts(None, marks, "within", vocab_size=size) is None


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "free"])
@pytest.mark.parametrize("budget", [0, 3])
@pytest.mark.parametrize("place", ["before", "within"])
def test_after_as_many_thoughts_as_may_be_only_their_end_can_come(
    place: Place, budget: int, is_held: bool, tokenizer: Tokenizer, marks: Marks, yes: Grammar
) -> None:
    matcher = bounded(yes if is_held else None, marks, place, tokenizer, budget)
    begun = list(marks.begin) * (place == "before")
    assert follow(matcher, [*begun, *tokenizer.encode("sosososo")[:budget]])
    assert matcher.allowed().nonzero()[0].tolist() == [marks.end] and not matcher.is_complete
    assert follow(matcher, [marks.end, *tokenizer.encode("yes")])
    assert matcher.is_complete == is_held


def test_what_ends_thoughts_early_leaves_the_rest_of_their_budget_to_later_ones(
    tokenizer: Tokenizer, marks: Marks
) -> None:
    matcher = bounded(None, marks, "within", tokenizer, 3)
    assert follow(matcher, tokenizer.encode("so</think>Call this.<think>w"))
    assert matcher.allowed().nonzero()[0].tolist() == [marks.end]


def test_a_free_text_with_a_budget_may_end_wherever_it_might_without(
    tokenizer: Tokenizer, marks: Marks
) -> None:
    matcher = bounded(None, marks, "within", tokenizer, 3)
    assert matcher.allowed().all() and follow(matcher, tokenizer.encode("so</think>"))
    assert matcher.allowed().all()


def test_the_end_mark_can_come_where_it_ends_the_text_too(
    tokenizer: Tokenizer, marks: Marks, yes: Grammar
) -> None:
    held = after_thoughts(yes, marks, "within", vocab_size=tokenizer.vocab_size)
    assert held is not None and held.start([marks.end]).allowed()[marks.end]


@pytest.mark.parametrize(
    ("place", "text", "is_allowed"),
    [
        ("before", "<|channel|>analysis<|message|>no, no<|end|>" + ANSWER + "yes", True),
        ("before", "<|channel|>final<|message|>yes", True),
        ("before", "<|channel|>final<|message|>maybe", False),
        ("before", "<|channel|>anyhow<|message|>", False),
        ("before", "<|channel|>finally<|message|>", False),
        ("before", "yes", False),
        ("before", "<|message|>yes", False),
        ("before", "<|channel|>analysis<|message|>no<|end|>yes", False),
        ("before", "<|channel|>analysis<|message|>no<|end|>\n" + ANSWER, False),
        ("before", "<|channel|>analysis<|message|>no<|end|><|start|>assistant<|channel|>analysis", False),
        ("before", "<|channel|>analysis<|message|>no<|return|>", False),
        ("within", "so<|channel|>final<|message|>so<|end|>" + ANSWER + "no", True),
        ("after", "yes", True),
    ],
)
def test_channels_are_held_with_the_headers_between_them(
    place: Place, text: str, is_allowed: bool, tokenizer: Tokenizer, channels: Marks, yes: Grammar
) -> None:
    matcher = started(yes, channels, place, tokenizer)
    assert follow(matcher, tokenizer.encode(text)) == is_allowed


@pytest.mark.parametrize(
    ("text", "is_complete"),
    [
        ("<|channel|>final<|message|>yes", True),
        ("<|channel|>final<|message|>", False),
        ("<|channel|>analysis<|message|>yes", False),
        ("<|channel|>analysis<|message|><|end|>" + ANSWER, False),
        ("<|channel|>analysis<|message|><|end|>" + ANSWER + "no", True),
    ],
)
def test_a_text_of_channels_is_complete_with_its_answer(
    text: str, is_complete: bool, tokenizer: Tokenizer, channels: Marks, yes: Grammar
) -> None:
    matcher = started(yes, channels, "before", tokenizer)
    assert follow(matcher, tokenizer.encode(text)) and matcher.is_complete == is_complete


def test_headers_that_a_grammar_has_itself_are_not_held_twice(tokenizer: Tokenizer, channels: Marks) -> None:
    grammars = Grammars(tokenizer, tokenizer.vocab_size)
    ids = {mark: tokenizer.id_of(mark) for mark in ("<|channel|>", "<|message|>")}
    lark = 'start: <[{<|channel|>}]> ("final" | "analyst") <[{<|message|>}]> "yes"'.format_map(ids)
    held = after_thoughts(
        grammars.compile_rule(("tools", lark)),
        channels,
        "before",
        vocab_size=tokenizer.vocab_size,
        headed=True,
    )
    assert held is not None
    thought = "<|channel|>analysis<|message|>no<|end|><|start|>assistant"
    for text, is_allowed in [
        ("<|channel|>analyst<|message|>yes", True),  # begins as thoughts do
        (thought + "<|channel|>final<|message|>yes", True),
        (thought + "<|channel|>analyst<|message|>yes", True),
        (thought + "<|channel|>analysis<|message|>", False),
        ("<|channel|>final<|message|>no", False),
    ]:
        assert follow(held.start(), tokenizer.encode(text)) == is_allowed


@pytest.mark.parametrize("kind", ["marks", "channels"])
def test_thoughts_whose_budget_went_do_not_begin_again(
    kind: str, tokenizer: Tokenizer, request: pytest.FixtureRequest
) -> None:
    marks: Marks = request.getfixturevalue(kind)
    begin = tokenizer.decode(marks.begin)
    end = tokenizer.decode([marks.end])
    spent = bounded(None, marks, "before", tokenizer, 2)
    assert follow(spent, tokenizer.encode(f"{begin}so"))
    assert spent.allowed().nonzero()[0].tolist() == [marks.end]
    assert follow(spent, tokenizer.encode(f"{end}Well."))
    assert not follow(spent, marks.begin)
    left = bounded(None, marks, "before", tokenizer, 3)
    assert follow(left, tokenizer.encode(f"{begin}so{end}Well.{begin}w"))
    assert left.allowed().nonzero()[0].tolist() == [marks.end]
