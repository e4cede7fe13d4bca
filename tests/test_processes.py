"""Processes by their numbers."""

import os
import subprocess

import pytest

from llmkit import processes


def test_a_process_is_alive_until_it_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert processes.is_alive(os.getpid()) and not processes.is_alive(ended.pid)


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(processes.os, "kill", refuse)
    assert processes.is_alive(1)
