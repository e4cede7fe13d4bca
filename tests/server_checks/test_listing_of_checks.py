"""The list of checks in README.md names tests and scripts that there are, and every check has one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LISTING = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", LISTING)
SCRIPTS = re.findall(r"`(server_load/[\w.]+)`", LISTING)


@cache
def _tests_of(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)), ids="::".join)
def test_a_named_test_is_there(path: str, name: str) -> None:
    assert f"test_{name}" in _tests_of(path)


def test_named_scripts_are_there_and_every_check_and_advisory_has_a_test_or_a_script() -> None:
    assert SCRIPTS and all((TESTS / script).is_file() for script in SCRIPTS)
    checks, advisories, _ = LISTING.split("\n## ")[1:]
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", checks, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 44))
    without = {number for number, row in rows if "::" not in row and "server_load/" not in row}
    assert not without
    told = [line for line in advisories.splitlines() if line.startswith("| ")][1:]
    assert len(told) > 20 and all("::" in line for line in told)
