"""A run that is killed, stopped or interrupted goes on as if nothing had happened, to the last bit."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers

TEXT = "she sells sea shells by the sea shore, and the shells she sells are sea shells. " * 40
TIMES = (
    *("time_seconds", "tokens_per_second", "mfu", "memory_bytes", "write_seconds", "peak_flops_per_second"),
    "loader_seconds",
)

KILL_BEFORE_STEP = """
import os, signal
from llmkit.train.trainer import Trainer
original = Trainer.train_step
def train_step(self):
    if self.step == {step}:
        os.kill(os.getpid(), signal.{signal})
    return original(self)
Trainer.train_step = train_step
"""
KILL_IN_CHECKPOINT = """
import os, signal
from llmkit.workflows.run import saver as run_saver
original = run_saver.write_snapshot
def write_snapshot(snapshot, folder, product):
    original(snapshot, folder, product)
    if snapshot.state.trainer["step"] == {step}:
        (folder / "optimizer.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
run_saver.write_snapshot = write_snapshot
"""
LINE = [
    *("pretrain", "--data", "text.txt", "--valid", "valid.txt", "-t", "tok", "--seq-len", "16", "-q"),
    *("--hidden-size", "16", "--num-hidden-layers", "1", "--num-attention-heads", "2", "--steps", "10"),
    *("--num-key-value-heads", "1", "--batch-rows", "4", "--threads", "1", "--checkpoint-every", "5"),
    *("--eval-every", "5"),
]
RUN = "import sys\nfrom llmkit.cli import main\nmain()\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of characters and text to learn and to score."""
    tmp_path = tmp_path_factory.mktemp("bench")
    vocabulary = {letter: i for i, letter in enumerate(sorted(set(TEXT)))}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="s"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    (tmp_path / "tok").mkdir()
    backend.save(str(tmp_path / "tok" / "tokenizer.json"))
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "valid.txt").write_text(TEXT[:300])
    return tmp_path


@pytest.fixture(scope="module")
def pretrain(bench: Path, forked_python: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ten steps of `llmkit pretrain` in a process of its own, after some lines of Python."""

    def call(
        out: str, before: str = "", *flags: str, python: Path = forked_python
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-c", before + RUN, *LINE, "-o", out, *flags],
            cwd=bench,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


@pytest.fixture(scope="module")
def straight(bench: Path, pretrain: Callable[..., Any]) -> Path:
    """A run of ten steps that nothing disturbs."""
    assert pretrain("straight").returncode == 0
    return bench / "straight"


def state(run: Path) -> dict[str, bytes]:
    """Everything in a run that has to be equal: weights, optimiser state, counters."""
    last = run / "checkpoints" / "step-00000010"
    return {
        "run": (run / "model.safetensors").read_bytes(),
        **{file.name: file.read_bytes() for file in last.iterdir() if file.name != "llmkit.json"},
    }


def metrics(run: Path) -> list[dict[str, Any]]:
    """All records but those that say when and how the run was started, without the times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in TIMES}
        for line in lines
        if line.get("event") != "start"
    ]


def test_ten_steps_equal_five_a_kill_a_resume_and_five(
    bench: Path, straight: Path, pretrain: Callable[..., Any]
) -> None:
    out, real = "killed", Path(sys.executable)  # in the other tests, forks, and the run to compare with
    killed = pretrain(out, KILL_BEFORE_STEP.format(step=8, signal="SIGKILL"), python=real)
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in metrics(bench / out)][-1] == 8  # past the checkpoint at 5
    assert pretrain(out, python=real).returncode == 0
    assert state(bench / out) == state(straight)
    assert metrics(bench / out) == metrics(straight)


def test_a_kill_while_a_checkpoint_is_written_costs_only_the_steps_since_the_one_before(
    bench: Path, straight: Path, pretrain: Callable[..., Any]
) -> None:
    out = "killed-saving"
    killed = pretrain(out, KILL_IN_CHECKPOINT.format(step=10))
    assert killed.returncode == -signal.SIGKILL
    left = sorted(entry.name for entry in (bench / out / "checkpoints").iterdir())
    assert left[-1] == "step-00000005"
    assert left[0].startswith(".step-00000010.tmp-")
    assert pretrain(out).returncode == 0
    assert state(bench / out) == state(straight)
    assert metrics(bench / out) == metrics(straight)
    assert not list((bench / out / "checkpoints").glob(".*"))


def test_sigterm_saves_at_once_and_the_same_line_goes_on(
    bench: Path, straight: Path, pretrain: Callable[..., Any]
) -> None:
    out = "sigterm"
    stopped = pretrain(out, KILL_BEFORE_STEP.format(step=6, signal="SIGTERM"))
    assert stopped.returncode == 75
    assert "stopped at step 7 of 10 (SIGTERM); a checkpoint is saved" in stopped.stderr
    assert (bench / out / "checkpoints/step-00000007/COMPLETE").exists()
    assert pretrain(out).returncode == 0
    assert state(bench / out) == state(straight)
    extra = {"event": "checkpoint", "step": 7, "path": "checkpoints/step-00000007"}
    assert [line for line in metrics(bench / out) if line != extra] == metrics(straight)


def test_a_terminal_that_goes_saves_as_sigterm_does(bench: Path, pretrain: Callable[..., Any]) -> None:
    out = "sighup"
    told = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    stopped = pretrain(out, told + KILL_BEFORE_STEP.format(step=6, signal="SIGHUP"))
    assert stopped.returncode == 75
    assert "stopped at step 7 of 10 (SIGHUP); a checkpoint is saved" in stopped.stderr
    assert (bench / out / "checkpoints/step-00000007/COMPLETE").exists()


def test_the_same_line_goes_on_with_its_metrics_where_it_was_killed_before_its_first_checkpoint(
    bench: Path, straight: Path, pretrain: Callable[..., Any]
) -> None:
    flags = ("--metrics", "more.jsonl")
    for _ in range(2):
        killed = pretrain("killed-early", KILL_BEFORE_STEP.format(step=3, signal="SIGKILL"), *flags)
        assert killed.returncode == -signal.SIGKILL
    other = pretrain("killed-other", KILL_BEFORE_STEP.format(step=3, signal="SIGKILL"), *flags)
    assert (other.returncode, "more.jsonl: already exists" in other.stderr) == (2, True)
    assert pretrain("killed-early", "", *flags).returncode == 0
    assert state(bench / "killed-early") == state(straight)
    assert (bench / "more.jsonl").read_text() == (bench / "killed-early/metrics.jsonl").read_text()


def test_ctrl_c_saves_what_is_saved_at_once_and_says_so_in_one_line(pretrain: Callable[..., Any]) -> None:
    out = "sigint"
    stopped = pretrain(out, KILL_BEFORE_STEP.format(step=6, signal="SIGINT"))
    assert stopped.returncode == 130
    assert stopped.stderr == "llmkit: interrupted at step 7 of 10: step 7 is saved, the same line goes on\n"


def test_ctrl_c_in_a_long_step_stops_within_a_second(pretrain: Callable[..., Any]) -> None:
    slow = KILL_BEFORE_STEP.format(step=6, signal="SIGINT").replace(
        "    return", "        time.sleep(30)\n    return"
    )
    begin = time.monotonic()
    out = "sigint-slow"
    stopped = pretrain(out, "import time\n" + slow)
    assert time.monotonic() - begin < 25
    assert stopped.returncode == 130
    assert stopped.stderr == "llmkit: interrupted at step 6 of 10: step 5 is saved, the same line goes on\n"


def test_two_processes_do_not_train_in_one_folder(
    bench: Path, pretrain: Callable[..., Any], forked_python: Path
) -> None:
    slow = KILL_BEFORE_STEP.format(step=1, signal="SIGSTOP")
    words = [forked_python, "-c", slow + RUN, *LINE, "-o", "both"]
    first = subprocess.Popen(words, cwd=bench, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (bench / "both" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        second = pretrain("both")
        assert second.returncode == 2
        assert "another process is training in it" in second.stderr
    finally:
        first.kill()
        first.communicate()
