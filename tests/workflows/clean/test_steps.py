"""The steps that settings ask for: all of them in their order, none that was not asked for."""

from pathlib import Path

import pytest

from llmkit.errors import ConfigError
from llmkit.workflows.clean.options import CleanSettings
from llmkit.workflows.clean.steps import build_cleaner, build_steps, rules_of


def test_nothing_asked_is_nothing_done() -> None:
    assert build_steps(CleanSettings()) == []


def test_every_step_stands_in_its_place(tmp_path: Path) -> None:
    for package in ("resiliparse", "ftfy", "py3langid"):
        pytest.importorskip(package)
    (tmp_path / "t.txt").write_text("one two three four five six seven eight nine ten")
    settings = CleanSettings(
        presets=("gopher",),
        pages=True,
        require_license=True,
        fix_encoding=True,
        lang="en",
        pii="drop",
        against=((str(tmp_path / "t.txt"), "digest"),),
    )
    with build_cleaner(settings) as cleaner:
        names = [check.name for check in cleaner.checks(pages=True)]
    steps = [type(step).__name__ for step in build_steps(settings)]
    words = "JudgePage Licences TakeText Repair Repair Languages Rules PersonalData Against"
    assert steps == words.split()
    order = ["http status", "licence", "extract timeout", "language"]
    order += ["gopher-quality.words", "pii", "contaminated"]
    assert [name for name in names if name in order] == order


def test_html_in_jsonl_is_taken_out_when_extraction_is_asked_for() -> None:
    assert [type(step).__name__ for step in build_steps(CleanSettings(extract="none"))] == ["TakeText"]


def test_boilerplate_goes_first_then_presets_as_named_then_the_rule_file() -> None:
    rules = '[[rules]]\nrule = "code"\n'
    settings = CleanSettings(boilerplate=True, presets=("ocr", "c4"), rules=rules, rules_name="my.toml")
    assert [rule.kind for rule in rules_of(settings)] == ["boilerplate", "ocr", "c4", "code"]


def test_a_rule_twice_is_one_and_differing_is_an_error_as_is_an_unknown_name() -> None:
    assert [rule.kind for rule in rules_of(CleanSettings(presets=("c4", "c4")))] == ["c4"]
    with pytest.raises(ConfigError, match="c4 comes twice"):
        rules_of(CleanSettings(presets=("c4",), rules='[[rules]]\nrule = "c4"\nmin_sentences = 1\n'))
    with pytest.raises(ConfigError, match="no preset of rules is called gofer"):
        rules_of(CleanSettings(presets=("gofer",)))
    with pytest.raises(ConfigError, match=r"my\.toml: rule 1"):
        rules_of(CleanSettings(rules='[[rules]]\nrule = "nope"\n', rules_name="my.toml"))
