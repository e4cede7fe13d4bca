"""`llmkit serve --engine ray` under load: a replica killed, weights replaced, replicas added, the end.

    python tests/server_load/ray_serve.py MODEL [--second MODEL] [--clients 6] [--seconds 20]

Needs ray[serve]. Starts two replicas of MODEL, and sends requests that are answered in one piece, so many at
a time, as well as one stream after the other. Meanwhile it (1) kills a replica, (2) puts --second (or MODEL
again) in its place as v2, and (3) ends the server while a stream is written. Exits 1 where a request failed;
streams of the killed replica end with an error event, and are counted as cut.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

BODY = {"prompt": "Once upon a time", "max_tokens": 60, "ignore_eos": True}
NAME = f"ray{os.getpid()}"


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, url: str, clients: int) -> None:
        self.answers: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.slowest = 0.0
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self._threads.append(threading.Thread(target=self._stream))
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                answer = client.post("/v1/completions", json=BODY)
                self.slowest = max(self.slowest, time.monotonic() - began)
                version = answer.json().get("system_fingerprint", "-").rpartition("-")[2]
                self.answers[f"{answer.status_code} {version}"] += 1
                if answer.status_code != 200:
                    print(answer.status_code, answer.text, flush=True)

    def _stream(self) -> None:
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while not self._stop.is_set():
                self.streams[read_stream(client)] += 1


def read_stream(client: httpx.Client, seen: Callable[[], None] = lambda: None) -> str:
    """How a stream ended."""
    try:
        with client.stream("POST", "/v1/completions", json={**BODY, "stream": True}) as stream:
            if stream.status_code != 200:
                return str(stream.status_code)
            last = ""
            for line in stream.iter_lines():
                if line:
                    last = line
                    seen()
    except httpx.TransportError as error:
        return type(error).__name__
    return "done" if last == "data: [DONE]" else "cut" if '"error"' in last else "without an end"


def replicas() -> list[int]:
    """Processes of the deployment, by the title that Ray gives them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(f"ray::ServeReplica:{NAME}".encode()):
            found.append(int(folder.name))
    return found


def until(what: Callable[[], bool], seconds: float = 120.0) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            raise SystemExit("it does not come to be")
        time.sleep(0.05)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--second", type=Path)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=20.0, help="of load after each change")
    given = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="ray-serve-")
    read, write = os.pipe()
    admin_socket = f"{folder.name}/admin"
    command = [sys.executable, "-m", "llmkit", "serve", "-m", f"{NAME}={given.model}@v1", "--engine", "ray"]
    command += ["--replicas", "2", "--port", "0", "--ready-fd", str(write), "--admin-socket", admin_socket]
    began = time.monotonic()
    server = subprocess.Popen([*command, "-q"], pass_fds=(write,))
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            url = json.loads(stream.readline())["url"]
        print(f"started in {time.monotonic() - began:.1f} s", flush=True)
        return check(server, url, admin_socket, given)
    finally:
        server.kill() if server.poll() is None else None
        server.wait()
        folder.cleanup()


def check(server: "subprocess.Popen[bytes]", url: str, admin_socket: str, given: argparse.Namespace) -> int:
    wrong = []
    load = Load(url, given.clients)
    time.sleep(given.seconds / 4)
    (victim, *_), before = sorted(replicas()), set(replicas())
    os.kill(victim, signal.SIGKILL)
    again = until(lambda: victim not in replicas() and len(replicas()) == len(before))
    time.sleep(given.seconds)
    load.stop()
    wrong += [one for one in load.answers if not one.startswith("200")]
    wrong += [one for one in load.streams if one not in ("done", "cut")]
    print(
        f"killed: answers {dict(load.answers)}, slowest {load.slowest:.2f} s, streams {dict(load.streams)}, "
        f"two replicas again after {again:.1f} s",
        flush=True,
    )
    load = Load(url, given.clients)
    time.sleep(given.seconds / 4)
    with httpx.Client(transport=httpx.HTTPTransport(uds=admin_socket), timeout=300) as admin:
        told = {"path": str(given.second or given.model), "version": "v2"}
        began = time.monotonic()
        done = admin.post(f"http://admin/admin/models/{NAME}/reload", json=told)
        took = time.monotonic() - began
    time.sleep(given.seconds)
    load.stop()
    wrong += [done.text] if done.status_code != 200 else []
    wrong += [one for one in load.answers if one not in ("200 v1", "200 v2")]
    wrong += [one for one in load.streams if one != "done"]
    wrong += [] if load.answers["200 v2"] else ["nobody was answered by v2"]
    print(
        f"replaced in {took:.1f} s: answers {dict(load.answers)}, slowest {load.slowest:.2f} s, "
        f"streams {dict(load.streams)}",
        flush=True,
    )
    with httpx.Client(base_url=url, timeout=120) as client:
        sent = iter([lambda: server.send_signal(signal.SIGTERM)])
        end = read_stream(client, lambda: next(sent, lambda: None)())
    gone = server.wait(120)
    left = until(lambda: not replicas(), 30)
    wrong += [] if (end, gone) == ("done", 0) else [f"the last stream: {end}; exit status {gone}"]
    print(f"ended: the running stream {end}, exit status {gone}, no replica left after {left:.1f} s")
    print("failed: " + "; ".join(wrong) if wrong else "nothing failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
