"""Findings: errors become one with their place told apart, bugs do not, and the gravest level counts."""

import msgspec
import pytest

from llmkit.errors import DataError, MissingError
from llmkit.workflows.doctor.findings import Finding, as_finding, finding, worst


def _caught(problem: str, where: str) -> Finding:
    findings: list[Finding] = []
    with as_finding(findings, "a.b", where):
        raise DataError(problem, hint="mend it")
    (only,) = findings
    return only


@pytest.mark.parametrize(
    ("problem", "where", "what"),
    [
        ("run: is empty", "run", "is empty"),
        ("run:7: not JSON (found: x)", "run:7", "not JSON (found: x)"),
        ("run/config.json: no such file: sorry", "run/config.json", "no such file: sorry"),
        ("other: is empty", "run", "other: is empty"),  # told of another place: nothing is lost
        ("the loss is a spike", "run", "the loss is a spike"),
    ],
)
def test_an_error_is_a_finding_whose_place_is_the_most_exact_one_known(
    problem: str, where: str, what: str
) -> None:
    expected = Finding(level="error", check="a.b", where=where, what=what, hint="mend it")
    assert _caught(problem, "run") == expected


def test_what_follows_the_error_goes_on_and_findings_add_up() -> None:
    findings = [finding("info", "x.y", "p", "was there", "leave it")]
    for problem in ("p: one", "p: two"):
        with as_finding(findings, "a.b", "p"):
            raise MissingError(problem, hint="h")
    with as_finding(findings, "a.b", "p"):
        pass
    assert [one.what for one in findings] == ["was there", "one", "two"]


def test_a_bug_stays_a_bug() -> None:
    findings: list[Finding] = []
    with pytest.raises(ZeroDivisionError), as_finding(findings, "a.b", "p"):
        1 / 0  # noqa: B018
    assert findings == []


def test_the_gravest_level_counts_in_any_order() -> None:
    levels = {level: finding(level, "a.b", "p", "w", "h") for level in ("error", "warning", "info")}
    error, warning, info = levels.values()
    assert worst([]) is None
    assert worst([info]) == "info"
    assert worst([info, warning, info]) == "warning"
    assert worst([info, warning, error]) == worst([error, info]) == "error"


def test_a_finding_is_json_that_scripts_can_rely_on() -> None:
    assert msgspec.to_builtins(finding("warning", "machine.disk", 5, "is full", "free some")) == {
        **{"level": "warning", "check": "machine.disk", "where": "5", "what": "is full"},
        "hint": "free some",
    }
