"""Whether an output is the answer: each kind by examples that are told apart by hand."""

import pytest

from llmkit.errors import DataError
from llmkit.probe.evaluate.matching import (
    chosen_letter,
    f1,
    gsm8k_answer,
    judge,
    last_number,
    normalise,
    plain_number,
)


@pytest.mark.parametrize(
    ("match", "output", "answers", "score"),
    [
        ("exact", " Paris \n", ["Paris"], 1),
        ("exact", "paris", ["Paris"], 0),
        ("normalized", "The  Eiffel-Tower!", ["eiffeltower"], 1),
        ("normalized", "an apple", ["Apple"], 1),
        ("contains", "It is Paris.", ["Paris"], 1),
        ("contains", "It is paris.", ["Paris"], 0),
        ("contains-any", "it is paris", ["Rome", "Paris"], 1),
        ("contains-any", "it is oslo", ["Rome", "Paris"], 0),
        ("contains-all", "Rome and paris", ["Rome", "Paris", "Oslo", "Bonn"], 0.5),
        ("regex", "on 2024-05-06", [r"\d{4}-\d\d-\d\d"], 1),
        ("regex", "on Monday", [r"\d{4}"], 0),
        ("number", "so 1,000 in all.", ["1000.0"], 1),
        ("number", "first 3, then 4", ["3"], 0),
        ("number", "none", ["3"], 0),
        ("gsm8k", "2+2=4\n#### 4", ["So 4\n#### 4"], 1),
        ("gsm8k", "The answer is 4", ["#### 4"], 0),
        ("gsm8k", "#### 1,234.", ["1234"], 1),
        ("choice", "The answer is (B).", ["1"], 1),
        ("choice", "C. because", ["C"], 1),
        ("choice", "The answer is (B).", ["(b)"], 1),
        ("f1", "the cat sat", ["a cat sat down"], 0.8),
        ("exact", "b", ["a", "b"], 1),
    ],
)
def test_an_output_has_the_score_that_a_person_gives_it(
    match: str, output: str, answers: list[str], score: float
) -> None:
    found = judge(match, output, answers)  # type: ignore[arg-type]
    assert found.score == pytest.approx(score) and found.correct is (score == 1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It costs $1,234.50 today", "1234.5"), ("-7", "-7"), ("1e3", "1000"), ("a .5 b", "0.5"),
        ("1,2,3", "3"), ("5 apples, 12 pears.", "12"), ("0.10", "0.1"), ("no", None), ("100", "100"),
        ("10-12", "12"), ("5-3", "3"), ("10\u221212", "12"), ("covid-19", "19"), ("$5-$3", "3"),
        ("x = -3", "-3"), ("(-3)", "-3"), ("\u22125", "-5"), ("1e\u22123", "0.001"), ("-$.50", "-0.5"),
        ("-0", "0"), ("-0.00", "0"), ("0e500", "0"), ("1.50e3", "1500"),
    ],
)  # fmt: skip
def test_the_last_number_in_its_plain_form(text: str, number: str | None) -> None:
    assert last_number(text) == number


def test_numbers_are_equal_only_when_all_their_digits_are() -> None:
    assert judge("number", str(10**32 + 1), [str(10**32 + 1)]).correct
    assert not judge("number", str(10**32 + 1), [str(10**32 + 2)]).correct
    assert not judge("number", f"1.{'0' * 40}1", ["1"]).correct
    assert judge("number", f"1.{'0' * 40}", ["1"]).correct


def test_what_is_no_number_is_none() -> None:
    assert plain_number("1.2.3") is None and plain_number("") is None and plain_number("1e999999") is None


def test_gsm8ks_own_solution_gives_its_answer() -> None:
    solution = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nAltogether 48+24 = 72.\n#### 72"
    assert gsm8k_answer(solution) == "72" and gsm8k_answer("72") is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("(C) the third", "C"), ("**D**", "D"), ("Answer: A", "A"), ("answer is: b", None),
        ("The answer is a mystery", None), ("I think it is B", "B"), ("I do", None),
        ("The answer is (c)", "C"),
        ("A or B? The answer is B", "B"), ("A dog ran", "A"), ("nothing", None),
    ],
)  # fmt: skip
def test_the_letter_that_is_chosen(text: str, letter: str | None) -> None:
    assert chosen_letter(text) == letter


def test_normalising_is_squads() -> None:  # the examples of its evaluation script's four steps
    assert normalise("The Beatles' song, a HIT!") == "beatles song hit"


def test_f1_counts_a_word_as_often_as_both_have_it() -> None:
    assert f1("cat cat dog", "cat dog dog") == pytest.approx(2 / 3)
    assert f1("", "") == f1("the", "a") == 1.0 and f1("x", "") == 0.0


@pytest.mark.parametrize(
    ("match", "answers", "says"),
    [
        ("exact", [], "no answer"), ("regex", ["("], "regular expression"),
        ("choice", ["maybe"], "no choice"),
        ("number", ["many"], "no number"), ("choice", ["-"], "no choice"),
    ],
)  # fmt: skip
def test_an_answer_that_nothing_can_be_held_against_is_an_error(
    match: str, answers: list[str], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        judge(match, "output 1", answers)  # type: ignore[arg-type]


def test_case_can_be_left_out_of_account() -> None:
    assert judge("exact", "PARIS", ["paris"], ignore_case=True).correct
    assert judge("regex", "PARIS", ["^paris$"], ignore_case=True).correct
    assert judge("contains", "IN PARIS", ["paris"], ignore_case=True).correct
