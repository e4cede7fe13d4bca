"""Processes of workers, with small programs in the place of models: (4) and (7) of serving.md (d), and starts
that fail."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmkit.errors import DataError, ResourceError
from llmkit.server.router.fleet import Fleet, Version
from llmkit.server.router.probes import ProbeConfig
from llmkit.server.router.restarts import RestartConfig
from llmkit.server.router.supervisor import Launch, Supervisor
from llmkit.server.router.worker import Worker, own_client
from tests.server.router.fakes import FakeWorker, Routing, said

SERVES = """
import http.server, json, os, socketserver, sys, threading
path = json.loads(sys.stdin.readline())["socket"]
if os.path.exists(path):
    os.unlink(path)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"data": [{"id": "tiny"}]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
    def address_string(self):
        return ""
server = socketserver.ThreadingUnixStreamServer(path, Handler)
print('{"url": "here"}', flush=True)
server.serve_forever()
"""
FAST = ProbeConfig(every_seconds=0.05, answer_seconds=0.5, kill_after=3)


def launch(program: str, socket: Path) -> Launch:
    return Launch((sys.executable, "-c", program), f'{{"socket": "{socket}"}}'.encode())


def test_4_a_worker_that_ends_at_each_start_is_given_up_and_the_server_is_not_ready(tmp_path: Path) -> None:
    socket, count = tmp_path / "s", tmp_path / "starts"
    once = f"""
import os
with open({str(count)!r}, "a") as file:
    file.write("x")
if os.path.getsize({str(count)!r}) > 1:
    os._exit(1)
{SERVES}
"""
    worker = Worker("tiny/0", own_client(socket))
    restarts = RestartConfig(first_seconds=0.01, most_seconds=0.05)

    async def scenario() -> list[int]:
        supervisor = Supervisor(restarts, FAST)
        await supervisor.start(worker, launch(once, socket))
        router = Routing(Version("", 100.0, [worker]))
        seen = [(await router.client.get("/ready")).status_code]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        while worker.state != "failed":
            await asyncio.sleep(0.01)
        seen.append((await router.client.get("/ready")).status_code)
        seen.append((await router.complete()).status_code)
        started = count.read_text()
        await asyncio.sleep(0.2)
        assert count.read_text() == started == "x" * restarts.crashes
        await supervisor.stop_all()
        return seen

    assert asyncio.run(scenario()) == [200, 503, 503]


def test_7_workers_end_with_a_router_that_is_killed_even_those_that_are_stopped(tmp_path: Path) -> None:
    worker = """
import os, sys, time
from llmkit.workflows.serve.worker import end_with_router
sys.stdin.buffer.raw.readline()
end_with_router(0)
print('{"url": "here"}', flush=True)
time.sleep(60)
"""
    router = f"""
import asyncio, sys
from pathlib import Path
from llmkit.server.router.supervisor import Launch, Supervisor
from llmkit.server.router.worker import Worker, own_client
async def main():
    supervisor = Supervisor()
    for name in "ab":
        one = Worker(name, own_client(Path({str(tmp_path / "none")!r})))
        await supervisor.start(one, Launch((sys.executable, "-c", {worker!r}), b"{{}}"))
        print(one.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(router)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    os.kill(pids[0], signal.SIGSTOP)
    process.kill()
    process.wait()
    process.stdout.close()
    for pid in pids:
        assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    for _ in range(500):
        stat = Path(f"/proc/{pid}/stat")
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        asyncio.run(asyncio.sleep(0.01))
    return False


def start(program: str, tmp_path: Path) -> Any:
    async def scenario() -> None:
        await Supervisor().start(Worker("w", own_client(tmp_path / "s")), launch(program, tmp_path / "s"))

    return asyncio.run(scenario())


def test_why_a_worker_cannot_serve_is_told_in_its_own_words(tmp_path: Path) -> None:
    told = '{"problem": "m: no weights", "hint": "look", "kind": "DataError"}'
    with pytest.raises(DataError) as caught:
        start(f"print({told!r})", tmp_path)
    assert (caught.value.problem, caught.value.hint) == ("m: no weights", "look")


def test_its_own_words_are_read_where_it_ends_before_its_settings_are_written(tmp_path: Path) -> None:
    told = '{"problem": "m: no weights", "hint": "look", "kind": "DataError"}'
    program = f"import os; print({told!r}, flush=True); os.close(0)"
    long = replace(launch(program, tmp_path / "s"), settings=b" " * (1 << 22))  # more than a pipe holds
    with pytest.raises(DataError, match="m: no weights"):
        asyncio.run(Supervisor().start(Worker("w", own_client(tmp_path / "s")), long))


def test_a_worker_that_ends_without_a_word_is_not_started_again_and_again(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="ended with 7 before it was ready"):
        start("raise SystemExit(7)", tmp_path)


def test_a_worker_without_a_program_is_said_at_once_and_no_process_is_remembered_after_its_end(
    tmp_path: Path,
) -> None:
    none = Launch((str(tmp_path / "nothing"),), b"{}")
    lost, good = (Worker(name, own_client(tmp_path / "s")) for name in ("lost", "good"))

    async def scenario() -> None:
        supervisor = Supervisor(RestartConfig(first_seconds=0.01, most_seconds=0.05), FAST)
        async with asyncio.timeout(60):
            with pytest.raises(ResourceError, match="worker lost cannot be started: no such file"):
                await supervisor.start(lost, none)
        assert lost.state == "failed"
        await supervisor.start(good, launch(SERVES, tmp_path / "s"))
        assert [one.pid for one in supervisor._processes.values()] == [good.pid]
        await supervisor.stop_all(at_once=True)
        assert not supervisor._processes

    asyncio.run(scenario())


def test_a_process_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    worker = Worker("w", own_client(socket))
    fleet = Fleet()
    fleet.add_version("tiny", Version("", 100.0, [worker]))

    async def scenario() -> None:
        supervisor = Supervisor(RestartConfig(first_seconds=0.01), FAST)
        await supervisor.start(worker, launch(SERVES, socket))
        first = worker.pid
        assert first is not None and fleet.is_ready
        os.kill(first, signal.SIGSTOP)
        while worker.pid in (first, None) or not worker.takes_requests:
            await asyncio.sleep(0.01)
        assert worker.restarts == 1 and fleet.is_ready
        await supervisor.drain(worker, 1.0)
        assert worker.state == "stopped"

    asyncio.run(scenario())


def test_somebody_elses_server_is_said_to_hang_when_a_process_of_ours_would_be_ended() -> None:
    async def scenario() -> None:
        one = FakeWorker(said("a"), is_own=False)
        one.fails = httpx.ReadTimeout
        supervisor = Supervisor(probes=replace(FAST, every_seconds=0.01))
        supervisor.watch(one.worker, lambda _: None)
        async with asyncio.timeout(20):
            await one.worker.hangs.wait()
            assert one.worker.failed_probes >= FAST.kill_after and not one.worker.takes_requests
            one.fails = None
            await one.worker.came_up.wait()
        assert not one.worker.hangs.is_set()
        await supervisor.stop_all()

    asyncio.run(scenario())
