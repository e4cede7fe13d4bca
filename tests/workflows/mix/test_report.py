"""The report adds up, and warns of what nobody may have meant."""

from typing import Any

from llmkit.workflows.mix.choose import Chosen, SourceFacts
from llmkit.workflows.mix.options import MixSettings, Source
from llmkit.workflows.mix.report import MixReport, make_report


def facts(name: str, **changes: Any) -> SourceFacts:
    values: dict[str, Any] = {
        **{"name": name, "share": 0.5, "documents": 10, "size": 100, "refused_documents": 0, "bad_lines": 0},
        **{"wanted": 50.0, "achieved": 50, "taken_documents": 5, "taken_bytes": 60, "is_dry": False},
        "licences": {"MIT": [5, 50]},
    }
    return SourceFacts(**{**values, **changes})


def report(*sources: SourceFacts, **settings: Any) -> MixReport:
    named = tuple(Source(name=one.name, path=f"{one.name}.jsonl") for one in sources)
    chosen = Chosen(sources, (0, 4, 10))
    return make_report(MixSettings(sources=named, **settings), chosen, out="out", seconds=1.0)


def test_rows_and_licences_add_up() -> None:
    two = facts("b", achieved=150, licences={"MIT": [1, 30], "unknown": [4, 120]}, taken_documents=5)
    found = report(facts("a"), two)
    assert (found.achieved, found.documents, found.bytes, found.parts) == (200, 10, 120, 2)
    assert [row.achieved_share for row in found.sources] == [0.25, 0.75]
    assert [(row.licence, row.size, row.share, row.sources) for row in found.licences] == [
        ("unknown", 120, 0.6, ["b"]),
        ("MIT", 80, 0.4, ["a", "b"]),
    ]
    assert found.warnings == [] and found.dry == []


def test_what_is_odd_is_warned_of() -> None:
    dry = report(facts("a", is_dry=True, wanted=80.0), facts("b"))
    assert dry.dry == ["a"] and dry.warnings == ["a has run dry at 50 of 80 bytes: the mixture ends there"]
    dropped = report(facts("a", is_dry=True), on_exhaust="drop", by="documents")
    assert dropped.warnings == ["a has run dry at 50 of 50 documents: others make up for it"]
    again = report(facts("a", achieved=401), facts("b", achieved=400))
    assert again.warnings == ["a is gone through 4.0 times"]
    (nothing,) = report(facts("a", achieved=0, taken_documents=0)).warnings
    assert nothing.startswith("a gives nothing")
