"""Batches through steps: documents and bytes are conserved, reasons and samples are those of the steps."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from llmkit.errors import DataError
from llmkit.text.rule import Check, Verdict
from llmkit.workflows.clean.input import Batch, Entry
from llmkit.workflows.clean.item import Item
from llmkit.workflows.clean.judges import Licences
from llmkit.workflows.clean.options import CleanSettings
from llmkit.workflows.clean.work import Cleaned, Cleaner, Step


class Shorter(Step):
    """Drops texts of more than five letters."""

    checks = (Check("letters", "letters of the text", high=5),)

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        assert item.text is not None
        item.scores["letters"] = len(item.text)
        return [Verdict("letters", len(item.text), 5)] if len(item.text) > 5 else ()


class Upper(Step):
    """Makes `x` an `X`."""

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        assert item.text is not None
        if "x" in item.text:
            item.edits["upper"] = item.text.count("x")
            item.text = item.text.replace("x", "X")
        return ()


class NoX(Step):
    """Drops what has an X when its turn has come."""

    checks = (Check("no-x", "X in the text", high=0),)

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        assert item.text is not None
        found = item.text.count("X")
        return [Verdict("no-x", found, 0)] if found else ()


class Closing(Step):
    """Knows whether it was closed."""

    closed = False

    def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
        return ()

    def close(self) -> None:
        self.closed = True


TEXTS = ["abc", "too long", "x", "xx yy zz", "", "ok"]


def clean(
    steps: Sequence[Step], texts: Sequence[str] = TEXTS, extra: bytes = b"", **settings: Any
) -> Cleaned:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows) + extra
    settings = {"rejects": True, **settings}
    with Cleaner(CleanSettings(**settings), steps) as cleaner:
        cleaned = cleaner(Batch("a.jsonl", 1, lines))
    tally = cleaned.tally
    size = sum(len(line) for line in lines.split(b"\n"))
    assert tally.bytes == size
    assert tally.documents == tally.kept + tally.malformed + sum(
        count.documents for count in tally.dropped.values() if settings.get("mode") != "tag"
    )
    assert tally.kept == cleaned.kept.count(b"\n")
    assert tally.documents - tally.kept == cleaned.rejects.count(b"\n") or not settings["rejects"]
    assert tally.written_bytes == len(cleaned.kept.replace(b"\n", b""))
    return cleaned


def dropped(cleaned: Cleaned) -> dict[str, int]:
    return {name: count.documents for name, count in cleaned.tally.dropped.items()}


def ids(content: bytes) -> list[str]:
    return [json.loads(line).get("id") for line in content.splitlines()]


def test_the_first_reason_counts_and_later_steps_see_what_is_left() -> None:
    cleaned = clean([Shorter(), Upper(), NoX()])
    assert ids(cleaned.kept) == ["0", "4", "5"]
    reasons = [json.loads(line)["_reject"] for line in cleaned.rejects.splitlines()]
    assert [(why["rule"], why["value"], why["threshold"], why["line"]) for why in reasons] == [
        ("letters", 8, 5, 2),
        ("no-x", 1, 0, 3),
        ("letters", 8, 5, 4),
    ]
    assert dropped(cleaned) == {
        "letters": 2,
        "no-x": 1,
    }


def test_the_rejects_hold_the_input_though_a_step_had_changed_it() -> None:
    cleaned = clean([Upper(), NoX()])
    assert [json.loads(line)["text"] for line in cleaned.rejects.splitlines()] == ["x", "xx yy zz"]


def test_kept_and_rejected_bytes_are_those_that_came() -> None:
    cleaned = clean([Upper(), Shorter()])
    tally = cleaned.tally
    assert tally.kept_bytes + sum(count.bytes for count in tally.dropped.values()) == tally.bytes
    assert tally.changed == 1 and tally.edit_counts == {
        "upper": 3
    }  # one of the two edited was dropped behind it


def test_edits_make_a_history_and_unchanged_documents_have_none() -> None:
    rows = [json.loads(line) for line in clean([Upper()]).kept.splitlines()]
    assert [row.get("metadata") for row in rows] == [
        None,
        None,
        {"history": [{"stage": "clean", "edits": {"upper": 1}}]},
        {"history": [{"stage": "clean", "edits": {"upper": 2}}]},
        None,
        None,
    ]


def test_in_tag_mode_all_are_kept_with_every_reason() -> None:
    cleaned = clean([Upper(), Shorter(), NoX()], mode="tag")
    rows = [json.loads(line) for line in cleaned.kept.splitlines()]
    reasons = [[why["rule"] for why in row["attributes"]["clean"]] for row in rows]
    assert reasons == [[], ["letters"], ["no-x"], ["letters", "no-x"], [], []]
    assert dropped(cleaned) == {
        "letters": 2,
        "no-x": 2,
    }
    assert cleaned.rejects == b""


def test_malformed_lines_are_an_error_or_rejected_in_their_place() -> None:
    bad = b'{"text":1}\nnonsense\n{"id":"9","text":"fine"}\n'
    with pytest.raises(DataError, match=r"a\.jsonl:7: "):
        clean([Shorter()], extra=bad)
    cleaned = clean([Shorter()], extra=bad, keep_bad=True)
    assert ids(cleaned.kept)[-1] == "9"
    assert cleaned.tally.malformed == 2 and cleaned.tally.malformed_bytes == len(b'{"text":1}nonsense')
    last, nonsense = (json.loads(line) for line in cleaned.rejects.splitlines()[-2:])
    assert (last["text"], last["_reject"]["rule"], last["_reject"]["line"]) == (1, "malformed", 7)
    assert nonsense["_line"] == "nonsense"


def test_what_a_step_finds_malformed_is_rejected_like_any_other() -> None:
    extra = b'{"id":"9","text":"x","metadata":3}\n'
    cleaned = clean([Licences(CleanSettings(license_deny=("MIT",)))], extra=extra, keep_bad=True)
    assert cleaned.tally.malformed == 1
    assert json.loads(cleaned.rejects)["metadata"] == 3


def test_rejects_are_not_made_where_nobody_keeps_them() -> None:
    assert clean([Shorter()], rejects=False).rejects == b""


def test_samples_and_values_are_kept_for_a_report_only() -> None:
    assert not any(count.samples for count in clean([Shorter(), Upper()]).tally.dropped.values())
    tally = clean([Upper(), Shorter()], report=True).tally
    assert tally.values == {"letters": {3: 1, 8: 2, 1: 1, 0: 1, 2: 1}}
    assert {(one.id, one.before, one.value) for one in tally.dropped["letters"].samples} == {
        ("1", "too long", 8),
        ("3", "xx yy zz", 8),
    }
    assert {(one.id, one.before, one.after, one.value) for one in tally.edits["upper"].samples} == {
        ("2", "x", "X", 1),
        ("3", "xx yy zz", "XX yy zz", 2),
    }


def test_a_sample_of_an_edit_begins_shortly_before_it() -> None:
    text = "a" * 1000 + "x" + "b" * 1000
    (edit,) = clean([Upper()], [text], report=True).tally.edits["upper"].samples
    assert edit.before == "a" * 80 + "x" + "b" * 519 and edit.after == "a" * 80 + "X" + "b" * 519


def test_text_taken_out_of_html_is_shown_beside_the_html_it_stands_in() -> None:
    class Take(Step):
        """Takes out what stands in <p>."""

        def __call__(self, item: Item, *, every_score: bool) -> Sequence[Verdict]:
            assert item.html is not None
            item.text = item.html.split("<p>")[1]
            return ()

    html = "<head>" + "h" * 500 + "</head><p>One two three four"
    line = json.dumps({"id": "x", "html": html}).encode()
    with Cleaner(CleanSettings(report=True, extract="fast"), [Take()]) as cleaner:
        cleaned = cleaner(Batch("a", 1, line))
    (sample,) = cleaned.tally.edits["text of html"].samples
    assert sample.before.endswith("</head><p>One two three four") and len(sample.before) < 200
    assert sample.after == "One two three four"
    assert json.loads(cleaned.kept) == {"id": "x", "text": "One two three four"}


def test_steps_are_closed_with_the_cleaner() -> None:
    step = Closing()
    clean([step])
    assert step.closed


def test_an_explanation_has_every_reason_and_value() -> None:
    cleaner = Cleaner(CleanSettings(report=True), [Upper(), Shorter(), NoX()])
    item, verdicts = cleaner.explain(Entry(b'{"text":"xx yy zz"}', "a", 1))
    assert [verdict.rule for verdict in verdicts] == ["letters", "no-x"]
    assert item.scores == {"letters": 8} and item.edits == {"upper": 2}
    assert [check.name for check in cleaner.checks(pages=True)] == ["letters", "no-x"]
