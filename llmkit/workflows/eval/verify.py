"""A program of the user's as the judge of one answer: JSON on its stdin, its exit status the verdict.

    {"completion": …, "program"?: …, all keys of the task's record}  ->  0: right, anything else: wrong

It is started anew for each answer, through the shell, in a group of its own, which is ended as a
whole. Whoever runs what a model wrote decides where: llmkit itself never does.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from llmkit.errors import MissingError, UsageError
from llmkit.retrieve.tools.process_group import end_group

NOT_FOUND = (126, 127)
"""Of a shell that found no program, or one that it may not run; and of what a model wrote, run by one."""
_FIRST_WORD = re.compile(r"\s*([\w./+~@%:-]+)(?=[\s;&|<>]|$)")
"""Of a command that begins with a program's plain name; others (`VAR=1 …`, `"$X"`) are not looked up."""
_LOOK_UP = 'found=$(command -v {word}) && case $found in */*) [ -f "$found" ] && [ -x "$found" ];; esac'


@dataclass(frozen=True)
class Verdict:
    """Of one answer."""

    is_right: bool
    status: int | None
    """Exit status; negative: the signal that ended it; None: it took too long."""


@dataclass(frozen=True)
class Verifier:
    """A command that judges answers."""

    command: str
    timeout_seconds: float

    def __post_init__(self) -> None:
        if not self.command.strip() or not self.timeout_seconds > 0:
            raise UsageError(
                "no command to verify with" if not self.command.strip() else "no time to verify in",
                hint="--verify 'python verify.py' --verify-timeout 30",
            )

    def check(self) -> None:
        """Look the command's program up, as the shell will, without starting it.

        Raises:
            MissingError: the shell does not find it, or may not run it.
        """
        first = _FIRST_WORD.match(self.command)
        if first is None:
            return
        look_up = _LOOK_UP.format(word=first[1])
        if subprocess.run(look_up, shell=True, stdin=subprocess.DEVNULL, capture_output=True).returncode:
            raise MissingError(
                f"--verify `{self.command}`: the shell cannot run {first[1]}",
                hint='try it on one line: echo \'{"completion": "4"}\' | ' + self.command,
            )

    def judge(self, record: Mapping[str, Any]) -> Verdict:
        """Start the command on a record, and wait for it."""
        with TemporaryFile() as told:  # a pipe would have to be fed while the command runs
            told.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            told.seek(0)
            process = subprocess.Popen(
                self.command,
                shell=True,
                stdin=told,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            status = end_group(process, self.timeout_seconds)
        return Verdict(status == 0, status)
