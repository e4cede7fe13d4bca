"""What an interrupted run leaves, and that the next one ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf_copies import split_gguf
from gguf_models import case_config, random_model

from llmkit.engine.config import GenerateConfig
from llmkit.errors import AlreadyDone, DataError, StoppedResumable, UsageError
from llmkit.formats.amount_text import plural
from llmkit.formats.gguf.write import write_gguf
from llmkit.formats.partial_lines import partial_path
from llmkit.model.gguf.save import gguf_model
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import generate_files, plan_generate
from llmkit.workflows.generate.output import JsonOutput
from llmkit.workflows.generate.partial import model_files

MESSAGES = [{"role": "user", "content": "the License?"}]
CALL = {"custom_id": "q", "method": "POST", "url": "/v1/chat/completions"}
ROWS: list[dict[str, Any]] = [
    {"id": 0, "prompt": "the License", "note": 1.50},
    {"prompt": "a", "samples": 3},
    CALL | {"body": {"messages": MESSAGES, "n": 2}},
    CALL | {"body": {"messages": MESSAGES, "stream": True}},
    {"prompt": "a", "samples": 3},
    {"id": "last", "tokens": [1, 2, 3]},
]
LINES = 1 + 3 + 1 + 1 + 3 + 1


class Bench:
    """A model, rows, and an output."""

    def __init__(self, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.rows, self.out = model, folder / "rows.jsonl", folder / "out.jsonl"
        self.partial = partial_path(self.out)
        self.give(ROWS)
        plain = JsonOutput.__init__
        monkeypatch.setattr(
            JsonOutput,
            "__init__",
            lambda self, *args, **named: plain(self, *args, clock=lambda: 7.0, **named),
        )

    def give(self, rows: list[dict[str, Any]]) -> None:
        self.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def asked(self, **settings: Any) -> tuple[GenerateFiles, GenerateConfig]:
        sampling = {"max_tokens": 4, "ignore_eos": True} | settings.pop("sampling", {})
        files = GenerateFiles(model=self.model, jsonl=self.rows, out=self.out, **{"resume": True} | settings)
        return files, GenerateConfig(sampling=sampling, batch=2, kernels="torch")

    def run(self, **settings: Any) -> bytes:
        self.report = generate_files(*self.asked(**settings))
        content = self.out.read_bytes()
        self.out.unlink()
        return content


@pytest.fixture
def bench(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    folder = tiny_model(vocab_size=600, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return Bench(folder, tmp_path, monkeypatch)


def _stop_after(
    monkeypatch: pytest.MonkeyPatch, count: int, error: type[BaseException] = KeyboardInterrupt
) -> None:
    """Ctrl-C comes when so many records are written, or SIGTERM."""
    put, left = JsonOutput._put, [count]

    def counted(self: JsonOutput, record: object) -> None:
        if not left[0]:
            raise error
        left[0] -= 1
        put(self, record)

    monkeypatch.setattr(JsonOutput, "_put", counted)


@pytest.mark.parametrize("count", range(LINES))
def test_wherever_a_run_is_stopped_the_next_gives_the_bytes_of_one_that_was_not(
    bench: Bench, count: int
) -> None:
    whole = bench.run(resume=False)
    assert len(whole.splitlines()) == LINES and not bench.partial.exists()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable, match=r"out\.jsonl\.partial"):
        _stop_after(patch, count)
        bench.run()
    assert not bench.out.exists() and len(bench.partial.read_bytes().splitlines()) == 1 + count
    assert plan_generate(*bench.asked()).notes[0].endswith(f"goes on after {plural(count, 'record')}")
    assert bench.run() == whole
    assert bench.report.texts + count <= LINES + 1 and not bench.partial.exists()


def test_sigterm_keeps_records_as_ctrl_c_does(bench: Bench) -> None:
    whole = bench.run(resume=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 2, SystemExit)
        bench.run()
    assert bench.run() == whole


def test_a_record_that_was_torn_off_is_written_again(bench: Bench) -> None:
    whole = bench.run(resume=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 2)
        bench.run()
    content = bench.partial.read_bytes()
    bench.partial.write_bytes(content[:-9])
    assert (
        plan_generate(*bench.asked()).notes[0].endswith("1 record, and half a record, which is written again")
    )
    assert bench.partial.read_bytes() == content[:-9]  # a plan changes nothing
    assert bench.run() == whole
    bench.partial.write_bytes(content.splitlines(keepends=True)[0][:5])  # not even a header
    assert bench.run() == whole


def test_records_of_other_settings_rows_or_files_are_refused(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 4)
        bench.run()
    content = bench.partial.read_bytes()
    with pytest.raises(DataError, match="another model or other settings"):
        bench.run(sampling={"seed": 1})
    for rows, problem in (
        (ROWS[1:], "1 record of rows that are not there"),
        ([ROWS[0] | {"note": 2}, *ROWS[1:]], "rows in another order"),
        ([ROWS[0], {"prompt": "new"}, *ROWS[1:]], "rows in another order"),
    ):
        bench.give(rows)
        with pytest.raises(DataError, match=problem):
            bench.run()
        assert bench.partial.read_bytes() == content
    bench.give([*ROWS, {"prompt": "one more"}])
    assert len(bench.run().splitlines()) == LINES + 1
    bench.partial.write_bytes(b"{}\n")
    with pytest.raises(DataError, match="not the records of an interrupted run"):
        bench.run()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
def test_the_same_line_again_has_nothing_to_do_and_any_other_is_refused(bench: Bench, suffix: str) -> None:
    bench.out = bench.out.with_suffix(suffix)
    generate_files(*bench.asked())
    whole = bench.out.read_bytes()
    for run in (generate_files, plan_generate):
        with pytest.raises(AlreadyDone, match="each row has its records"):
            run(*bench.asked())
    refused: list[dict[str, Any]] = [{"sampling": {"seed": 1}}, {"resume": False}]
    for settings in refused:
        with pytest.raises(UsageError, match="already exists"):
            generate_files(*bench.asked(**settings))
    for rows in (ROWS[1:], [*ROWS, ROWS[0]], [{"prompt": "new"}, *ROWS[1:]]):
        bench.give(rows)
        with pytest.raises(UsageError, match="already exists, and is not what this line would leave"):
            generate_files(*bench.asked())
    bench.give(ROWS)
    assert bench.out.read_bytes() == whole and not partial_path(bench.out).exists()
    bench.out.write_bytes(whole[:-1])  # somebody's edit
    with pytest.raises(UsageError, match="already exists"):
        generate_files(*bench.asked())
    assert generate_files(*bench.asked(force=True)).texts and bench.out.read_bytes() == whole


def test_the_hint_to_begin_anew_removes_the_records_and_nothing_else(bench: Bench) -> None:
    bench.out = bench.out.with_name("my own.jsonl")
    for name in ("my", "own.jsonl.partial"):
        bench.out.with_name(name).touch()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 2)
        bench.run()
    with pytest.raises(DataError, match="another model or other settings") as found:
        bench.run(sampling={"seed": 1})
    command = found.value.hint[found.value.hint.index("rm ") :].removesuffix(" to begin anew")
    subprocess.run(command, shell=True, cwd=bench.out.parent, check=True)
    left = {path.name for path in bench.out.parent.iterdir()}
    assert {"my", "own.jsonl.partial"} <= left and "my own.jsonl.partial" not in left


def test_a_gguf_model_is_all_of_its_parts(tmp_path: Path) -> None:
    made = gguf_model(random_model(case_config("qwen3", {})), "q8_0")
    whole = tmp_path / "m.gguf"
    with whole.open("wb") as stream:
        write_gguf(stream, made.metadata, made.tensors)
    assert [name for name, *_ in model_files(whole)] == ["m.gguf"]
    parts = split_gguf(whole, tmp_path / "parts", 20)
    before = model_files(parts[0])
    assert [name for name, *_ in before] == [one.name for one in parts] and len(parts) > 1
    os.utime(parts[1], ns=(0, 0))
    assert model_files(parts[0]) != before


def test_an_adapter_is_its_gguf_file_or_its_folders_weights_and_settings(
    tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    model, folder, file = tiny_model(), tiny_adapter(), tmp_path / "adapter.gguf"
    file.write_bytes(b"GGUF")
    names = [name for name, *_ in model_files(model, [folder, file])]
    assert names[-3:] == ["adapter_model.safetensors", "adapter_config.json", "adapter.gguf"]


def test_two_runs_do_not_write_one_file(bench: Bench) -> None:
    import fcntl

    with bench.partial.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run writes it now"):
            bench.run()


def test_a_run_keeps_others_out_from_before_its_model_is_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.workflows.generate import model

    whole, start, came = bench.run(resume=False), model.start_engine, []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 2)
        bench.run()

    def another_comes(*args: Any) -> Any:
        came.append(args)
        with pytest.raises(UsageError, match="another run writes it now"):
            generate_files(*bench.asked(force=True))
        return start(*args)

    monkeypatch.setattr(model, "start_engine", another_comes)
    assert bench.run(force=True) == whole and len(came) == 1


def test_who_comes_when_a_run_ends_writes_the_whole_anew(
    bench: Bench, before_lock: Callable[[Callable[[], object]], None]
) -> None:
    whole = bench.run(resume=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedResumable):
        _stop_after(patch, 2)
        bench.run()
    before_lock(lambda: generate_files(*bench.asked()))  # OUT is there by then, and OUT.partial is gone
    assert bench.run(force=True) == whole and bench.report.texts > LINES - 2
    assert not bench.partial.exists()


def test_a_run_that_wrote_nothing_leaves_nothing(bench: Bench) -> None:
    bench.give([{"prompt": 1}])
    with pytest.raises(DataError):
        bench.run()
    assert not bench.partial.exists() and not bench.out.exists()


def test_a_run_that_is_killed_leaves_whole_records(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.give([{"id": n, "prompt": "the License", "max_tokens": 40} for n in range(90)])
    words = ["-m", bench.model, "--jsonl", bench.rows, "-o", bench.out, "--resume", "--kernels", "torch"]
    line = [sys.executable, "-m", "llmkit", "generate", *map(str, words), "--max-tokens", "4", "--ignore-eos"]
    running = subprocess.Popen(line, env={**os.environ, "OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 60
    while time.monotonic() < until and running.poll() is None:
        if bench.partial.exists() and bench.partial.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and not bench.out.exists()
    there = bench.partial.read_bytes().count(b"\n") - 1
    found = [json.loads(one) for one in bench.run().splitlines()]
    assert [one["id"] for one in found] == list(range(90)) and bench.report.texts == 90 - there
