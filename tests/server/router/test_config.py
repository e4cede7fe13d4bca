"""Models are named on the command line as PATH, NAME=PATH and NAME=PATH@VERSION:WEIGHT."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.server.keys import entry_of
from llmkit.server.router.config import ModelSource, RouterConfig, check_sources, read_source


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("runs/small", ModelSource("small", "runs/small")),
        ("m.gguf", ModelSource("m", "m.gguf")),
        ("prod=runs/a", ModelSource("prod", "runs/a")),
        ("prod=runs/a@v1", ModelSource("prod", "runs/a", "v1")),
        ("prod=/x/a=b@v1:2.5", ModelSource("prod", "/x/a=b", "v1", 2.5)),
        ("org/model=runs/a@v1:3", ModelSource("org/model", "runs/a", "v1", 3.0)),
        ("./a=b", ModelSource("a=b", "./a=b")),
        ("../a=b", ModelSource("a=b", "../a=b")),
        ("/x/a=b", ModelSource("a=b", "/x/a=b")),
        ("a@v1:3", ModelSource("a@v1-3", "")),
    ],
)
def test_a_model_is_read(told: str, found: ModelSource) -> None:
    if not found.path:  # a colon is for adapters, and there is no NAME= to say what was meant
        with pytest.raises(UsageError):
            read_source(told)
        return
    assert read_source(told) == found


def test_a_path_that_is_there_is_a_path_whatever_it_looks_like(tmp_path: Path) -> None:
    folder = tmp_path / "a=b@v1"
    folder.mkdir()
    assert read_source(str(folder), "x") == ModelSource("x", str(folder))


@pytest.mark.parametrize("told", [["a=p", "a=q"], ["a=p@v1:0"], ["a=p@v1:0", "a=q@v2:0", "b=r"]])
def test_models_that_cannot_be_told_apart_or_reached_are_refused(told: list[str]) -> None:
    with pytest.raises(UsageError):
        check_sources([read_source(one) for one in told])


def test_a_name_is_given_once() -> None:
    with pytest.raises(UsageError, match="named there, and by --name too"):
        read_source("a=p", "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 0},
        {"worker_key": Path("k")},
        {"workers": ("host:8000",)},
        {"workers": ("http://host:port",)},
        {"rollback_margin": 0.0},
        {"engine": "vllm"},
        {"max_replicas": 2},
        {"engine": "ray", "replicas": 3, "max_replicas": 2},
        {"admin_port": 70_000},
        {"admin_port": 1, "admin_socket": Path("s")},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RouterConfig(**wrong)


def test_an_admins_port_needs_an_admins_key_and_a_socket_does_not(tmp_path: Path) -> None:
    alone, named, admins = (tmp_path / name for name in ("alone", "named", "admins"))
    alone.write_text("a-key-alone\n")
    named.write_text(entry_of("alice", "a"))
    admins.write_text(entry_of("alice", "a") + entry_of("root", "b") + "admin = true\n")
    RouterConfig(admin_socket=Path("s")).check_keys(None)
    RouterConfig(admin_socket=Path("s")).check_keys(alone)
    RouterConfig(admin_port=1).check_keys(admins)
    with pytest.raises(ConfigError, match="--admin-port needs --keys"):
        RouterConfig(admin_port=1).check_keys(None)
    for path in (alone, named):
        with pytest.raises(ConfigError, match=f"no key in {path} is an admin's"):
            RouterConfig(admin_port=1).check_keys(path)


@pytest.mark.parametrize(
    ("told", "settings", "wanted"),
    [
        (["m"], {}, False),
        (["n=m"], {}, False),
        (["n=m@v1"], {}, True),
        (["m", "n"], {}, True),
        (["m"], {"replicas": 2}, True),
        (["m"], {"engine": "ray"}, True),
        (["m"], {"admin_socket": Path("s")}, True),
        ([], {"workers": ("http://h",)}, True),
    ],
)
def test_one_model_alone_takes_no_router(told: list[str], settings: dict[str, Any], wanted: bool) -> None:
    assert RouterConfig(**settings).is_wanted([read_source(one) for one in told]) is wanted
