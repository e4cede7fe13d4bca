"""Judges: each drops for its own reason, and says which value broke which bound."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.text.presets import preset
from llmkit.workflows.clean.input import Entry
from llmkit.workflows.clean.item import HeadReader, Item
from llmkit.workflows.clean.judges import Against, JudgePage, Languages, Licences, Rules, index_of
from llmkit.workflows.clean.options import CleanSettings

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it goes home to have a rest in the sun."
FINNISH = "Vaka vanha Väinämöinen itse tuon sanoiksi virkkoi: lähtekäämme laulamahan, saakamme sanelemahan."
NOTICE = "This text is licensed under the Apache License, Version 2.0, and nothing else is said about it."


def item_of(text: str | None = None, page: tuple[int | None, str] | None = None, **record: Any) -> Item:
    record = {"id": "x", **({} if text is None else {"text": text}), **record}
    return HeadReader("text", takes_html=True).read(Entry(json.dumps(record).encode(), "a", 1, page=page))


@pytest.mark.parametrize(
    ("page", "rule"),
    [
        (None, None),
        ((None, "text/html"), None),
        ((200, "text/html"), None),
        ((404, "text/html"), "http status"),
        ((200, "image/png"), "content type"),
    ],
)
def test_responses_that_are_no_page_go(page: tuple[int | None, str] | None, rule: str | None) -> None:
    verdicts = JudgePage()(item_of("t", page), every_score=False)
    assert [verdict.rule for verdict in verdicts] == ([] if rule is None else [rule])
    assert rule is None or rule in [check.name for check in JudgePage.checks]


def test_a_language_that_is_not_wanted_goes_and_the_one_found_is_written_down() -> None:
    pytest.importorskip("py3langid")
    judge = Languages("en:0.65", None)
    item = item_of(ENGLISH)
    assert judge(item, every_score=False) == () and item.facts == {"lang": "en"}
    (verdict,) = judge(item_of(FINNISH), every_score=False)
    assert (
        verdict.rule == "language" and str(verdict.value).startswith("fi:") and verdict.threshold == "en:0.65"
    )
    with pytest.raises(UsageError, match="--lang xx"):
        Languages("xx", None)


def test_rules_give_the_first_reason_or_all_of_them() -> None:
    rules = Rules(preset("gopher-quality"))
    text = "# # # short"
    (first,) = rules(item_of(text), every_score=False)
    assert (first.rule, first.value, first.threshold) == ("gopher-quality.words", 1.0, 50)
    item = item_of(text)
    every = rules(item, every_score=True)
    assert every[0] == first and "gopher-quality.hashes" in [verdict.rule for verdict in every]
    checks = {check.name: check for check in rules.checks}
    broken = {name for name, value in item.scores.items() if checks[name].broken_by(value) is not None}
    assert {verdict.rule for verdict in every} == broken and set(item.scores) == set(checks)


def test_rules_that_take_lines_out_say_how_many() -> None:
    item = item_of(
        "\n".join(["This is a fine line of prose, and it ends well."] * 6 + ["Uses cookies here too."])
    )
    assert Rules(preset("c4"))(item, every_score=False) == ()
    assert item.text is not None and "cookies" not in item.text and item.edits == {"c4.policy": 1}


@pytest.mark.parametrize(
    ("settings", "licence", "passes"),
    [
        ({"license_allow": ("MIT",)}, "MIT", True),
        ({"license_allow": ("permissive",)}, "mit license", True),
        ({"license_allow": ("MIT",)}, "GPL-3.0-only", False),
        ({"license_allow": ("MIT",)}, None, False),
        ({"license_deny": ("copyleft",)}, "GPL-3.0-only", False),
        ({"license_deny": ("copyleft",)}, None, True),
        ({"require_license": True}, None, False),
        ({"require_license": True}, "CC-BY-4.0", True),
    ],
)
def test_a_declared_licence_is_judged_as_the_flags_say(
    settings: dict[str, Any], licence: str | None, passes: bool
) -> None:
    metadata = {} if licence is None else {"license": licence}
    verdicts = Licences(CleanSettings(**settings))(item_of("t", metadata=metadata), every_score=False)
    assert [verdict.rule for verdict in verdicts] == ([] if passes else ["licence"])


@pytest.mark.parametrize(
    ("settings", "record", "passes"),
    [
        ({"license_deny": ("GPL-3.0",)}, {"metadata": {"license": ["GPL-3.0"]}}, False),
        ({"license_deny": ("GPL-3.0",)}, {"metadata": {"license": ["no such name", "GPL-3.0"]}}, False),
        ({"license_deny": ("GPL-3.0",)}, {"license": "GPL-3.0"}, False),
        ({"license_deny": ("GPL-3.0",)}, {"licenses": ["MIT", "Zlib"]}, True),
        ({"license_allow": ("MIT",)}, {"licenses": ["MIT", "GPL-3.0"]}, False),
        ({"license_allow": ("MIT", "GPL-3.0")}, {"licenses": ["MIT", "GPL-3.0"]}, True),
        ({"require_license": True}, {"licence": "MIT"}, True),
        ({"require_license": True}, {"licenses": []}, False),
    ],
)
def test_every_licence_of_a_list_or_of_the_record_itself_has_to_pass(
    settings: dict[str, Any], record: dict[str, Any], passes: bool
) -> None:
    verdicts = Licences(CleanSettings(**settings))(item_of("t", **record), every_score=False)
    assert [verdict.rule for verdict in verdicts] == ([] if passes else ["licence"])


def test_metadata_that_is_no_object_may_declare_a_licence_and_passes_no_gate() -> None:
    gates: tuple[dict[str, Any], ...] = (
        {"license_allow": ("MIT",)},
        {"license_deny": ("GPL-3.0-only",)},
        {"require_license": True},
    )
    for gate in gates:
        with pytest.raises(DataError, match='a:1: "metadata" is no object'):
            Licences(CleanSettings(**gate))(item_of("t", metadata='{"license":"GPL"}'), every_score=False)
    item = item_of(NOTICE, metadata="words")  # nothing is judged
    assert Licences(CleanSettings(detect_license=True))(item, every_score=False) == ()
    assert item.facts["license"] == "Apache-2.0"


def test_a_licence_is_found_in_page_or_text_with_its_evidence_where_none_is_declared() -> None:
    judge = Licences(CleanSettings(detect_license=True, license_allow=("Apache-2.0", "CC-BY-4.0")))
    item = item_of(NOTICE)
    assert judge(item, every_score=False) == () and item.facts["license"] == "Apache-2.0"
    evidence = item.facts["license_evidence"]
    assert evidence.method == "statement" and "Apache License" in NOTICE[evidence.start : evidence.end]
    page = item_of(html='<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">x</a>')
    assert judge(page, every_score=False) == () and page.facts["license"] == "CC-BY-4.0"
    declared = item_of(NOTICE, metadata={"license": "GPL-2.0-only"})
    assert judge(declared, every_score=False)[0].value == "GPL-2.0-only" and declared.facts == {}
    quiet = Licences(CleanSettings(license_allow=("Apache-2.0",)))
    assert quiet(item_of(NOTICE), every_score=False)  # not looked for unless asked


def test_what_shares_thirteen_words_with_a_test_set_goes_and_names_them(tmp_path: Path) -> None:
    question = "How many golf balls would fit into a school bus if nobody sat in any of its seats"
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": 1, "question": question, "answer": "many"}) + "\n")
    judge = Against(((str(tmp_path / "test.jsonl"), "digest"),))
    (verdict,) = judge(item_of(f"I was asked: {question.lower()}? I did not know."), every_score=False)
    assert verdict.rule == "contaminated" and "golf balls" in str(verdict.value)
    assert judge(item_of(ENGLISH), every_score=False) == ()


def test_a_test_set_with_nothing_to_look_for_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"answer": "four"}\n')
    with pytest.raises(DataError, match=r"--against test\.jsonl: nothing in it has 8 words"):
        index_of(((str(tmp_path / "test.jsonl"), "digest"),))


def test_a_test_set_may_be_a_plain_text(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(ENGLISH)
    assert Against(((str(tmp_path / "test.txt"), "digest"),))(item_of(ENGLISH), every_score=False)
