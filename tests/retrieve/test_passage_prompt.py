"""Prompts with passages."""

import pytest

from llmkit.errors import ConfigError
from llmkit.retrieve.hits import Hit
from llmkit.retrieve.passage_prompt import PassagePrompts

HITS = [
    Hit(id="zoo:0-4", score=2.0, document="zoo", start=0, end=4, text="ants", heading="A<x>"),
    Hit(id="sea:9-13", score=1.0, document="sea", start=9, end=13, text="<x>e"),
]


def test_marks_in_the_prompt_are_those_of_the_citations() -> None:
    made = PassagePrompts(len, 1000).make("who?", HITS, {})
    assert "\n[1] A<x>\nants\n" in made.text and "\n[2]\n<x>e\n" in made.text
    assert made.text.endswith("Question: who?\nAnswer:")
    assert [(one.mark, one.document, one.start, one.end) for one in made.citations] == [
        (1, "zoo", 0, 4),
        (2, "sea", 9, 13),
    ]
    assert made.context_tokens == len("[00] A<x>\nants\n\n") + len("[00] \n<x>e\n\n")


def test_what_the_budget_does_not_hold_is_neither_there_nor_cited() -> None:
    made = PassagePrompts(len, 16).make("who?", HITS, {})
    assert [one.document for one in made.citations] == ["zoo"] and "[2]" not in made.text


def test_all_that_is_from_documents_is_cleaned_and_the_question_is_not() -> None:
    made = PassagePrompts(len, 1000, clean=lambda text: text.replace("<x>", "")).make("<x>?", HITS, {})
    assert made.text.count("<x>") == 1 and "Question: <x>?" in made.text
    assert made.citations[0].heading == "A<x>"  # for the client, who sees it as it is


def test_a_template_that_does_not_parse_or_fill_in_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mine\.jinja: line 1"):
        PassagePrompts(len, 9, template="{% if %}", name="mine.jinja")
    prompts = PassagePrompts(len, 9, template="{{ passages[9].text.upper() }}", name="mine.jinja")
    with pytest.raises(ConfigError, match=r"mine\.jinja: "):
        prompts.make("who?", [], {})
