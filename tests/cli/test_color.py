"""Not one escape byte where colour is off, whatever the environment of the machine."""

import json
import sys

import pytest
from contract_table import TABLE
from workbench import Workbench

from llmkit.cli import COMMANDS

INVITED = {"GITHUB_ACTIONS": "true", "FORCE_COLOR": "1", "PY_COLORS": "1"}
RESULTS: tuple[dict[str, str], ...] = ({}, INVITED)
"""Results too are asked for where nothing is said of colour, and where every library is invited to it."""
DRIVER = """
import json, sys
from llmkit.cli import run
for line in json.loads(sys.argv[1]):
    run(line)
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NO_COLOR": "1"},
        {"GITHUB_ACTIONS": "1"},
        INVITED,
        {"FORCE_COLOR": "1"},
        {"TERM": "dumb"},
    ],
    ids=lambda environment: "+".join(environment) or "nothing",
)
def test_pipes_get_no_escape_byte(copy: Workbench, environment: dict[str, str]) -> None:
    lines = [[*name.split(), flag] for name in COMMANDS for flag in ("--help", "--no-such-flag")]
    if environment in RESULTS:
        lines += [lines.result.format(n=1).split()[1:] for lines in TABLE.values() if "'" not in lines.result]
    lines += [["no-such-command"], ["tokenize", "-t", "nowhere", "corpus.txt"]]
    arguments = json.dumps([line for line in lines if line[0] != "bench" or "--rounds" not in line])
    (copy.folder / "driver.py").write_text(DRIVER)
    (copy.folder / "lines.json").write_text(arguments)
    done = copy.run(f'{sys.executable} driver.py "$(cat lines.json)"', **environment)
    assert done.status == 0, done.err
    assert b"\x1b" not in done.out and "\x1b" not in done.err
    assert "llmkit: error: " in done.err and b"Usage: " in done.out


def test_colour_can_be_asked_for(bench: Workbench) -> None:
    line = "llmkit tokenize -t tok --view --text hello"
    assert b"\x1b" in bench.run(f"{line} --color always").out
    assert b"\x1b" in bench.run(line, FORCE_COLOR="1").out
    for plain in (f"{line} --color never", line):
        assert b"\x1b" not in bench.run(plain, NO_COLOR="1").out
