"""A worker of the router gets its settings whole, serves by itself, and says why where it cannot."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.retrieve.tools.config import ToolLimits
from llmkit.server.config import ServeConfig, ToolsConfig
from llmkit.workflows.serve.worker import WorkerSettings, encode_settings, read_settings


def settings(folder: Path) -> WorkerSettings:
    return WorkerSettings(
        model=folder / "model",
        name="m",
        tokenizer=None,
        serve=ServeConfig(
            unix_socket=folder / "socket", behind_router=True, cors=("https://a", "https://b"), version="v1"
        ),
        engine=GenerateConfig(threads=1, dtype="float32", sampling={"temperature": 0.5}),
    )


def test_settings_come_out_as_they_went_in(tmp_path: Path) -> None:
    one = settings(tmp_path)
    tools = ToolsConfig(tools=("a: ./a.sh",), limits=ToolLimits(2.5, 100))
    one = replace(one, serve=replace(one.serve, tools=tools, retrieve="index:3"))
    line = encode_settings(one)
    assert read_settings(line) == one and b"\n" not in line


def test_why_it_cannot_serve_is_one_line_for_its_router(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit.workflows.serve.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process, process.stdin:  # open for as long as the router lives
        process.stdin.write(encode_settings(settings(tmp_path)) + b"\n")
        process.stdin.flush()
        told = json.loads(process.stdout.read())
        assert (told["kind"], process.wait()) == ("MissingError", 4)
        assert str(tmp_path / "model") in told["problem"] and process.stderr.read() == b""
