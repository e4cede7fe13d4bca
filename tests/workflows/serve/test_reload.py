"""SIGHUP changes who is let in, and ends nothing: not a server, and not by a wrong file."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest

from llmkit.server.config import ServeConfig
from llmkit.server.errors import ApiError
from llmkit.server.keys import entry_of
from llmkit.workflows.serve.front import Front, open_front
from llmkit.workflows.serve.reload import reading_keys_again


def hang_up(front: Front, times: int = 1) -> list[str]:
    """What is noted of a signal, or of several."""
    notes: list[str] = []

    async def work() -> list[str]:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
        return notes

    return asyncio.run(reading_keys_again(front, notes.append, work()))


def who(front: Front, key: str) -> str | None:
    try:
        return front.gate.identify(key).name
    except ApiError:
        return None


@pytest.mark.parametrize("bare", [False, True])
def test_after_a_hangup_the_keys_are_those_that_the_file_has_now(tmp_path: Path, bare: bool) -> None:
    keys = tmp_path / "keys"

    def write(*names: str) -> None:
        keys.write_text(
            "".join(f"secret-{one}\n" if bare else entry_of(one, f"secret-{one}") for one in names)
        )

    write("old", "stays")
    with open_front(ServeConfig(port=0, keys=keys)) as front:
        write("stays", "new", "newer")
        assert who(front, "secret-old") and who(front, "secret-new") is None
        assert hang_up(front) == [f"{keys}: keys read again, 3 of them"]
        assert who(front, "secret-old") is None
        assert who(front, "secret-stays") and who(front, "secret-new")


@pytest.mark.parametrize("wrong", ["[keys.a]\nsha256 = 'x'\n", "a b\n", "", None])
def test_a_wrong_file_is_told_in_two_lines_and_changes_nothing(
    wrong: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(entry_of("alice", "secret"))
    with open_front(ServeConfig(port=0, keys=keys)) as front:
        if wrong is None:
            keys.unlink()
            keys.mkdir()
        else:
            keys.write_text(wrong)
        assert hang_up(front) == [] and who(front, "secret") == "alice"
    (record,) = caplog.records
    first, second = record.getMessage().splitlines()
    assert first.startswith(f"llmkit: error: {keys}: ") and second.startswith("  hint: ")
    assert first.endswith("the keys stay as they were") and record.levelno == logging.ERROR


def test_without_keys_a_hangup_only_says_so(tmp_path: Path) -> None:
    with open_front(ServeConfig(port=0)) as front:
        notes = hang_up(front, times=2)
    assert len(notes) == 2 and "--keys" in notes[0]
    with open_front(ServeConfig(unix_socket=tmp_path / "s", behind_router=True)) as worker:
        assert hang_up(worker) == []
