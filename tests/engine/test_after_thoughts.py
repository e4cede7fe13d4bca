"""A rule holds the answer and leaves the thoughts before it free, whatever the model likes best."""

import random
from collections.abc import Iterable

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, pre_tokenizers

from llmkit.engine.after_thoughts import Marks, after_thoughts, marks_of
from llmkit.engine.grammar import Grammar, Grammars, Matcher
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.thoughts import Place, ThoughtForm

pytest.importorskip("llguidance")

FORM = ThoughtForm("<think>", "</think>")


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
    backend.add_special_tokens([AddedToken("<|end|>", special=True)])
    return Tokenizer(backend, {"eos_token": "<|end|>"}, "<think></think>")


@pytest.fixture(scope="module")
def marks(tokenizer: Tokenizer) -> Marks:
    found = marks_of(FORM, tokenizer)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def yes(tokenizer: Tokenizer) -> Grammar:
    return Grammars(tokenizer, tokenizer.vocab_size).compile_rule(("regex", "yes|no"))


def started(grammar: Grammar, marks: Marks, place: Place, tokenizer: Tokenizer) -> Matcher:
    held = after_thoughts(grammar, marks, place)
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
    assert after_thoughts(yes, None, "within") is yes and after_thoughts(yes, None, None) is yes
