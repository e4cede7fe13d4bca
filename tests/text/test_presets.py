"""Presets and files of rules."""

import pickle
from dataclasses import fields
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.text.c4 import C4
from llmkit.text.gopher_quality import GopherQuality
from llmkit.text.gopher_repetition import GopherRepetition
from llmkit.text.presets import KINDS, PRESETS, join_rules, preset, read_rules, rules_from
from llmkit.text.rule import apply_rules, checks_of


def test_the_fineweb_chain_stands_in_its_published_order() -> None:
    assert [rule.kind for rule in preset("fineweb")] == [
        "gopher-repetition",
        "gopher-quality",
        "c4",
        "fineweb-quality",
    ]
    assert preset("fineweb")[2] == C4(end_marks=False)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_pickling_after_use(name: str) -> None:
    rules = preset(name)
    apply_rules(rules, "Some words here. And more.\n" * 9)
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_every_check_of_every_rule_has_a_name_of_its_own() -> None:
    rules = [kind() for kind in KINDS.values()]
    names = [check.name for rule in rules for check in rule.checks]
    assert len(names) == len(set(names)) == len(checks_of(rules))
    assert all(
        name.startswith(f"{rule.kind}.") for rule in rules for name in [one.name for one in rule.checks]
    )


def test_a_file_sets_thresholds_and_leaves_the_rest() -> None:
    rules = read_rules(
        '[[rules]]\nrule = "gopher-quality"\nvariant = "dolma"\nmin_words = 20\nmax_words = false\n'
        '[[rules]]\nrule = "c4"\nend_marks = false\n[[rules]]\npreset = "gopher-repetition"\n'
    )
    assert rules == (
        GopherQuality(variant="dolma", min_words=20, max_words=None),
        C4(end_marks=False),
        GopherRepetition(),
    )


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ('[[rules]]\nrule = "gopher-qualty"', "no rule is called gopher-qualty", "gopher-quality?"),
        ('[[rules]]\nrule = "c4"\nmin_sentence = 3', "unknown key min_sentence", "min_sentences?"),
        ('[[rules]]\npreset = "finweb"', "no preset of rules is called finweb", "fineweb?"),
        ('[[rules]]\npreset = "c4"\nmin_sentences = 3', "unknown key min_sentences", "keys: preset"),
        ('[[rule]]\nrule = "c4"', "unknown key rule", "rules?"),
        ("rules = 3", "no [[rules]] table", "[[rules]]"),
        ("[[rules]]\nx", "not TOML", "[[rules]]"),
        ("[[rules]]", "names no rule", "rule = "),
        ('[[rules]]\nrule = "c4"\nmin_sentences = "3"', "Expected", "number"),
        ('[[rules]]\nrule = "c4"\nmin_sentences = true', "min_sentences is a number, not true", "NUMBER"),
        ('[[rules]]\nrule = "gopher-quality"\nvariant = "x"', "variant", "quotes"),
        (
            '[[rules]]\nrule = "c4"\n[[rules]]\nrule = "c4"\nend_marks = false',
            "differs in end_marks",
            "leave one",
        ),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong_and_what_was_meant(text: str, problem: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_rules(text)
    assert problem in raised.value.problem and hint in raised.value.hint


def test_a_rule_of_two_presets_runs_once() -> None:
    assert join_rules([preset("gopher"), preset("fineweb")]) == preset("fineweb")


@pytest.mark.parametrize("kind", KINDS)
def test_every_threshold_of_a_rule_changes_what_it_is(kind: str) -> None:
    rule: Any = KINDS[kind]()
    for one in fields(rule):
        value = getattr(rule, one.name)
        other = (
            not value if isinstance(value, bool) else "dolma" if isinstance(value, str) else (value or 0) + 1
        )
        assert rules_from([{"rule": kind, one.name: other}]) != (rule,)
