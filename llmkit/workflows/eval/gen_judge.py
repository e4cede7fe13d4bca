"""What makes an answer right: a comparison, or a command of the user's."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import UsageError, at_place
from llmkit.probe.evaluate.config import Match
from llmkit.probe.evaluate.extract import compile_extract, extract
from llmkit.probe.evaluate.matching import judge
from llmkit.probe.evaluate.tasks_config import GenConfig, WrittenForm
from llmkit.probe.evaluate.written_tasks import MATCHES, program
from llmkit.workflows.eval.gen_tasks import Item
from llmkit.workflows.eval.verify import NOT_FOUND, Verifier


@dataclass(frozen=True)
class Judge:
    """What makes an answer right."""

    match: Match
    pattern: re.Pattern[str] | None
    verifier: Verifier | None

    @property
    def name(self) -> str:
        """The match, or `command`."""
        return self.match if self.verifier is None else "command"

    def check(self, items: Iterable[Item]) -> None:
        """Refuse answers that nothing can be held against and a command that is not there, before all work.

        Raises:
            DataError: one is no number, no choice or no regular expression; the message names its line.
            MissingError: see `Verifier.check`.
        """
        if self.verifier is not None:
            self.verifier.check()
            return
        for item in items:
            with at_place(item.where):
                judge(self.match, "", item.task.answers)

    def told(self, item: Item, text: str) -> dict[str, Any]:
        """What a record says of an answer."""
        found = extract(self.pattern, text)
        if self.verifier is not None:
            if found is None:
                return {"score": 0.0, "correct": False, "found": None, "status": None}
            given = {**item.record, "completion": found}
            whole = program(item.record, found)
            verdict = self.verifier.judge(given if whole is None else {**given, "program": whole})
            right = verdict.is_right
            return {"score": float(right), "correct": right, "found": found, "status": verdict.status}
        if found is None:
            return {"score": 0.0, "correct": False, "found": None}
        judged = judge(self.match, found, item.task.answers)
        return {"score": judged.score, "correct": judged.correct, "found": judged.found}

    def notes(self, found: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """What all records together say of the command: that the shell has run nothing of it, it seems."""
        statuses = {one["status"] for one in found if one["found"] is not None} if self.verifier else set()
        if not statuses or not statuses <= set(NOT_FOUND):
            return ()
        told = " or ".join(map(str, sorted(statuses)))
        return (f"--verify ended with status {told} for every answer, as a shell does that finds no program",)


def open_judge(form: WrittenForm, config: GenConfig) -> Judge:
    """The judge that the options ask for.

    Raises:
        UsageError: they do not go together, or a program is to be judged without being run.
    """
    verifier = None if config.verify is None else Verifier(config.verify, config.verify_seconds)
    if verifier is not None and config.match is not None:
        raise UsageError("--verify and --match exclude each other", hint="give one of them")
    if verifier is None and form == "humaneval":
        raise UsageError(
            "programs are judged by running them, which llmkit does not do itself",
            hint='--verify CMD, which gets {"program", …} on stdin, in a sandbox of yours',
        )
    return Judge(config.match or MATCHES[form], compile_extract(config.extract), verifier)
