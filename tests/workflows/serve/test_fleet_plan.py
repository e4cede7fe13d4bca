"""The plan of several processes takes each of them into account."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.commands.serve.text import describe_fleet
from llmkit.engine.config import GenerateConfig
from llmkit.errors import ConfigError, MissingError, UsageError
from llmkit.server.config import ServeConfig
from llmkit.server.router.config import RouterConfig, read_source
from llmkit.workflows.serve.fleet_plan import plan_fleet
from llmkit.workflows.serve.serve import open_serve_job, plan_serve


def test_memory_is_that_of_all_replicas_of_all_versions(
    tiny_model: Callable[..., Path], byte_level_dir: Path
) -> None:
    paths = [tiny_model(name, vocab_size=600) for name in ("a", "b")]
    for path in paths:
        shutil.copytree(byte_level_dir, path, dirs_exist_ok=True)
    sources = [read_source(f"prod={path}@v{number}:{number}") for number, path in enumerate(paths, 1)]
    config, engine = ServeConfig(), GenerateConfig()
    plan = plan_fleet(sources, None, engine, config, RouterConfig(replicas=3, workers=("http://h",)))
    alone = [plan_serve(open_serve_job(path, None, engine), config, "prod").memory_bytes for path in paths]
    assert plan.memory_bytes == 3 * sum(alone)
    assert plan.versions == ("prod@v1:1", "prod@v2:2")
    text = describe_fleet(plan)
    assert "3 of each" in text and "http://h" in text and text.count("called") == 2


def test_a_plan_that_could_not_be_run_is_refused() -> None:
    with pytest.raises(ConfigError):
        plan_fleet([], None, GenerateConfig(), ServeConfig(), RouterConfig(admin_port=1))


def test_ray_that_is_not_there_is_said_by_the_plan_as_by_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match="--engine ray needs Ray Serve"):
        plan_fleet([], None, GenerateConfig(), ServeConfig(), RouterConfig(engine="ray"))


def test_a_version_without_a_name_is_told_by_its_model_alone(
    tiny_model: Callable[..., Path], byte_level_dir: Path
) -> None:
    path = tiny_model("a", vocab_size=600)
    shutil.copytree(byte_level_dir, path, dirs_exist_ok=True)
    router = RouterConfig(replicas=2)
    plan = plan_fleet([read_source(f"prod={path}")], None, GenerateConfig(), ServeConfig(), router)
    assert describe_fleet(plan).splitlines()[0] == "versions  prod"


def test_what_cannot_be_written_is_found_before_a_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    router = RouterConfig(admin_socket=tmp_path / "file" / "admin")
    with pytest.raises(UsageError, match="is no folder"):
        plan_fleet([], None, GenerateConfig(), ServeConfig(), router)
    with pytest.raises(MissingError, match="no such folder"):
        plan_fleet([], None, GenerateConfig(), ServeConfig(log=tmp_path / "logs" / "log"), RouterConfig())
