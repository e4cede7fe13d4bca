"""Real processes with a part of a model each: what they write together, and how they end."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.errors import MissingError
from llmkit.model.part import Part
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate.model import place, start_engine
from llmkit.workflows.generate.processes import GroupProcesses
from tests.workflows.generate.test_rank import SETTINGS

ASKED = Request((1, 403, 407), SamplingConfig(max_tokens=40, temperature=0.0))
SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from llmkit.engine.config import GenerateConfig, SamplingConfig
from llmkit.engine.request import Request
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.job import open_job
from llmkit.workflows.generate import processes
from llmkit.workflows.generate.model import place, start_engine

processes.STOPPED_SECONDS = 3.0
job = open_job(GenerateFiles(model=Path(sys.argv[1]), jsonl=Path("-")), GenerateConfig(tp=2))
engine = start_engine(job, place(job, None))
(process,) = engine.lead.followers.processes
print(process.pid, flush=True)
for count, drawn in enumerate(engine.run(Request((1,), SamplingConfig(max_tokens=400, ignore_eos=True)))):
    if count == 3:
        os.kill(process.pid, getattr(signal, sys.argv[2]))
        if len(sys.argv) > 3:
            threading.Timer(0.5, os.kill, (process.pid, signal.SIGCONT)).start()
print("it came to its end", flush=True)
engine.lead.close()
"""


@pytest.fixture(autouse=True)
def threads_as_they_were() -> "object":
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_two_processes_write_what_one_does_on_the_loopback_and_end_when_they_are_closed(
    shared_data: Path, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    files = GenerateFiles(model=shared_data / "models" / "stories260K", jsonl=Path("-"))
    texts = []
    for tp in (1, 2):
        job = open_job(files, GenerateConfig(tp=tp, kernels=kernels, threads=2))  # type: ignore[arg-type]
        placement = place(job, None)
        assert placement.threads == 2 // tp
        engine = start_engine(job, placement)
        texts.append([drawn.id for drawn in engine.run(ASKED)])
    assert texts[0] == texts[1] and len(texts[0]) == 40
    (process,) = engine.lead.followers.processes  # type: ignore[attr-defined]
    assert process.poll() is None
    if sys.platform == "linux":
        assert {os.environ[name] for name in names} == {"lo"}
    engine.lead.close()
    assert process.returncode is not None


def signalled(model: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """Two processes of which the second gets a signal, and another if so asked."""
    line = [sys.executable, "-c", SIGNALLED, str(model), *words]
    return subprocess.run(line, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("signal", "told"), [("SIGKILL", b"ended with -9"), ("SIGSTOP", b"is stopped (SIGSTOP)")]
)
def test_a_process_that_is_killed_or_stays_stopped_takes_the_first_with_it_which_says_so(
    shared_data: Path, signal: str, told: bytes
) -> None:
    if signal == "SIGSTOP" and sys.platform != "linux":
        pytest.skip("a stopped child is seen on Linux")
    done = signalled(shared_data / "models" / "stories260K", signal)
    assert done.returncode == 5
    assert b"process 1 " + told + b"; all of its processes end" in done.stderr
    assert len(done.stdout.split()) == 1  # its pid, and nothing after it


def test_a_process_that_is_stopped_for_a_moment_goes_on(shared_data: Path) -> None:
    done = signalled(shared_data / "models" / "stories260K", "SIGSTOP", "SIGCONT")
    assert done.returncode == 0 and done.stdout.endswith(b"it came to its end\n")


def test_what_keeps_a_process_from_its_part_is_told_by_the_first(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    own = replace(SETTINGS, part=Part(0, 2), store=str(tmp_path / "store"))
    processes = GroupProcesses([replace(own, part=Part(1, 2), model=str(empty))], own)
    with pytest.raises(MissingError, match=r"config\.json"):
        processes.wait()
    processes.close()
