"""A judge in a process of its own: what it answers, and every way it can fail."""

import os
import sys
import time
from pathlib import Path

import pytest

from llmkit.errors import DataError, LlmkitError, UsageError
from llmkit.workflows.finetune.reward_command import RewardCommand

RECORDS = [
    {"prompt": "2+2=", "completion": "4", "answer": "4"},
    {"prompt": "2+2=", "completion": "f\u00fcnf"},
]


def python(tmp_path: Path, body: str) -> str:
    """A command whose program runs `body` for each line, `record` being what it holds."""
    path = tmp_path / "reward.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    path.write_text(
        f"import json, os, sys, time\nfor line in sys.stdin:\n    record = json.loads(line)\n{lines}\n"
    )
    return f"{sys.executable} -S {path}"


def test_one_program_answers_all_calls_and_sees_all_keys(tmp_path: Path) -> None:
    body = (
        'score = len(record["completion"]) if record.get("answer") else os.getpid()\n'
        'print(json.dumps({"score": score}) if record.get("answer") else score, flush=True)'
    )
    with RewardCommand(python(tmp_path, body)) as reward:
        first = reward.score(RECORDS)
        assert first[0] == 1.0
        assert reward.score(RECORDS) == first
        assert reward.score([]) == []


def test_many_lines_may_wait_on_both_sides(tmp_path: Path) -> None:
    body = 'print(f"{len(record[\'completion\'])}" + " " * 300, flush=True)'
    records = [{"prompt": "", "completion": "x" * (number % 700)} for number in range(3000)]
    with RewardCommand(python(tmp_path, body)) as reward:
        assert reward.score(records) == [number % 700 for number in range(3000)]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("while read line; do echo good; done", "answer 1 is not a number (found: 'good')"),
        ("while read line; do echo; done", "answer 1 is not a number (found: '')"),
        ("while read line; do echo true; done", "answer 1 is not a number (found: 'true')"),
        ("while read line; do echo '{\"reward\": 1}'; done", "answer 1 is not a number"),
        ("while read line; do echo NaN; done", "answer 1 is not finite (found: 'NaN')"),
        ("while read line; do echo 1e999; done", "answer 1 is not finite"),
        ("echo 1; while read line; do echo 1; done", "one too many"),
        ("while read line; do printf '1\\n2\\n'; done", "answer 3 is one too many (found: '2')"),
    ],
)
def test_an_answer_that_is_no_score_is_named(command: str, found: str) -> None:
    with RewardCommand(command) as reward, pytest.raises(DataError) as error:
        for _ in range(2):  # a surplus line may come late
            reward.score(RECORDS[:1])
            time.sleep(0.1)
    assert f"reward command `{command}`: " in error.value.problem
    if "too many" not in found:
        assert found in error.value.problem
    else:
        assert "is one too many" in error.value.problem


@pytest.mark.parametrize(("command", "status"), [("no-such-program", 4), ("false", 3), ("sleep 30", 3)])
def test_a_program_that_gives_no_answer_does_not_end_as_a_gate_that_failed(command: str, status: int) -> None:
    with RewardCommand(command, 0.3) as reward, pytest.raises(LlmkitError) as error:
        reward.score([{"prompt": "a", "completion": "b"}])
    assert error.value.status == status  # 1 is the answer no, as of --fail-above


def test_a_program_that_ends_is_named_with_its_status() -> None:
    with RewardCommand("read line; echo 1; exit 7") as reward:
        with pytest.raises(LlmkitError, match="it ended with status 7 after 1 answers") as error:
            reward.score(RECORDS)
        assert "try it on one line" in error.value.hint
    with RewardCommand("no-such-program") as reward, pytest.raises(LlmkitError, match="status 127"):
        reward.score(RECORDS)
    with RewardCommand("kill -TERM $$") as reward, pytest.raises(LlmkitError, match="by SIGTERM"):
        reward.score(RECORDS)


def test_a_program_that_hangs_up_is_told_from_one_that_ends() -> None:
    with (
        RewardCommand("exec >&-; sleep 30") as reward,
        pytest.raises(LlmkitError, match="it closed its output or input after 0 answers"),
    ):
        reward.score(RECORDS)


def test_a_program_may_end_after_its_last_answer() -> None:
    with RewardCommand("read line; echo 1") as reward:
        assert reward.score(RECORDS[:1]) == [1.0]


def test_silence_is_an_error_not_a_wait() -> None:
    with (
        RewardCommand("read line; echo 1; sleep 30", timeout_seconds=0.3) as reward,
        pytest.raises(LlmkitError, match=r"no answer 2 within 0\.3 s") as error,
    ):
        reward.score(RECORDS)
    assert "flush" in error.value.hint


def test_a_program_that_reads_nothing_does_not_block_for_ever() -> None:
    records = [{"prompt": "x" * 100_000, "completion": ""}] * 30
    with RewardCommand("sleep 30", 0.3) as reward, pytest.raises(LlmkitError, match="no answer 1"):
        reward.score(records)


def test_whatever_it_started_ends_with_it(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    command = f"sleep 60 & echo $! > {noted}; while read line; do echo 1; done; sleep 60"
    with RewardCommand(command) as reward:
        assert reward.score(RECORDS) == [1.0, 1.0]
        child = int(noted.read_text())
        os.kill(child, 0)
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail("the child is still there")
    reward.close()


def test_its_stderr_is_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with RewardCommand("while read line; do echo judged >&2; echo 1; done") as reward:
        reward.score(RECORDS)
    assert capfd.readouterr().err == "judged\njudged\n"


def test_a_command_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no reward command"):
        RewardCommand(" ")
    with pytest.raises(UsageError, match="timeout of 0 s"):
        RewardCommand("cat", 0)
