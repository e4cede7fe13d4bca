"""What is opened before a model is served, and what it is called."""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import MissingError, ResourceError, UsageError
from llmkit.server.config import ServeConfig, ToolsConfig
from llmkit.server.gate import OpenGate
from llmkit.workflows.generate import model as opening
from llmkit.workflows.serve.aids import Aids
from llmkit.workflows.serve.serve import (
    model_name,
    open_serve_job,
    opened_app,
    plan_serve,
)


def test_a_model_is_called_as_its_folder_unless_it_has_a_name(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    job = open_serve_job(folder, None, GenerateConfig())
    assert model_name(job, None) == "stories260K" and model_name(job, "small") == "small"
    with pytest.raises(UsageError, match="no colon"):
        model_name(job, "a:b")
    plan = plan_serve(job, ServeConfig(port=9), "small")
    assert (plan.name, plan.listens, plan.keys) == ("small", "http://127.0.0.1:9", None)
    assert plan.cache_positions >= plan.context == 512
    assert (plan.processes, plan.threads) == (1, 1)
    halved = plan_serve(open_serve_job(folder, None, GenerateConfig(tp=2, threads=6)), ServeConfig(), None)
    assert (halved.processes, halved.threads) == (2, 3) and halved.memory_bytes > plan.memory_bytes


def test_a_models_own_length_of_texts_is_noted_as_requests_say_theirs(
    shared_data: Path, tmp_path: Path
) -> None:
    for file in (shared_data / "models" / "stories260K").iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    plain = open_serve_job(tmp_path, None, GenerateConfig())
    assert plain.notes == ()
    planned = plan_serve(plain, ServeConfig(), "m")
    for longest in (5, 512):
        (tmp_path / "generation_config.json").write_text(f'{{"max_new_tokens": {longest}}}')
        job = open_serve_job(tmp_path, None, GenerateConfig())
        (note,) = job.notes
        assert "max_new_tokens is not followed" in note
        found = plan_serve(job, ServeConfig(), "m")
        assert found == replace(
            planned, notes=(note,), memory_available_bytes=found.memory_available_bytes
        )  # which others use too


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"retrieve": "nosuch.index"}, "nosuch.index: no such index"),
        ({"tools": ToolsConfig(tools=("x: /nosuch/prog",))}, "no program /nosuch/prog"),
    ],
)
def test_what_cannot_start_has_no_plan(shared_data: Path, more: dict[str, Any], said: str) -> None:
    job = open_serve_job(shared_data / "models" / "stories260K", None, GenerateConfig())
    with pytest.raises(MissingError, match=said):
        plan_serve(job, ServeConfig(**more), None)


def test_a_model_without_a_tokenizer_is_not_served(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(MissingError, match="no tokenizer"):
        open_serve_job(tmp_path, None, GenerateConfig())


def prompt_workers() -> list[int]:
    """Processes of this one's that encode prompts."""

    def look(path: Path) -> str:
        try:
            return path.read_text()
        except (FileNotFoundError, ProcessLookupError):  # a thread, or a process, that has ended meanwhile
            return ""

    own = [one for task in Path("/proc/self/task").iterdir() for one in look(task / "children").split()]
    return [int(one) for one in own if "prompt_worker" in look(Path(f"/proc/{one}/cmdline"))]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("begun", [1, 2])
def test_a_model_that_cannot_be_started_leaves_no_process_behind(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    job = open_serve_job(shared_data / "models" / "stories260K", None, GenerateConfig())

    def start(job: Any, placement: Any) -> None:
        while len(prompt_workers()) < begun:  # 1: the other one is on its way
            time.sleep(0.001)
        raise ResourceError("no memory", hint="")

    async def scenario() -> None:
        monkeypatch.setattr(opening, "start_engine", start)
        named = {"name": "m", "note": print, "tell": print, "behind_router": False}
        with pytest.raises(ResourceError, match="no memory"):
            async with opened_app(job, ServeConfig(), OpenGate(), Aids(None, None, 0), **named):
                raise AssertionError
        assert not prompt_workers()

    asyncio.run(scenario())
