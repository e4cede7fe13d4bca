"""A Ray cluster of several nodes on this machine, and `llmkit serve --engine ray` on it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.workflows.serve.test_replicas import PATIENCE_SECONDS, Server

NAME = f"prod{os.getpid()}"
_BYTES = 80 << 20


class Nodes:
    """Nodes of one core each, beside a head that has none: each holds one replica.

    Attributes:
        cluster: Ray's own, which starts and kills them.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": _BYTES, "include_dashboard": False}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)

    def add(self) -> Any:
        """A node more."""
        return self.cluster.add_node(num_cpus=1, object_store_memory=_BYTES)

    def kill(self, node: Any) -> None:
        """End one without a word, with all that runs on it."""
        self.cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """End all."""
        self.cluster.shutdown()


def raylet_of(node: Any) -> int:
    """The process that has started all others on a node."""
    return int(node.all_processes["raylet"][0].process.pid)


def parent_of(pid: int) -> int:
    """Who has started a process; 0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def replicas(server: Server) -> list[int]:
    """Processes that answer, in order."""
    told = server.client.get("/load").json()["data"]
    return sorted(int(one["worker"].rpartition("/")[2]) for model in told for one in model["by_worker"])


@contextlib.contextmanager
def serving_on(nodes: Nodes, model: Path, second: Path, folder: Path) -> Iterator[Server]:
    """A router with two replicas of a model on a cluster."""
    read, write = os.pipe()
    socket = folder / "admin"
    line = ["-m", f"{NAME}={model}@v1", "--engine", "ray", "--replicas", "2", "--port", "0", "-q"]
    line += ["--ready-fd", str(write), "--admin-socket", str(socket), "--prompt-workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "serve", *line],
        pass_fds=(write,),
        env={**os.environ, "RAY_ADDRESS": nodes.cluster.address},
    )
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            told = json.loads(stream.readline())
        transport = httpx.HTTPTransport(uds=str(socket))
        with (
            httpx.Client(base_url=told["url"], timeout=2 * PATIENCE_SECONDS) as client,
            httpx.Client(base_url="http://admin", transport=transport, timeout=4 * PATIENCE_SECONDS) as admin,
        ):
            yield Server(process, client, admin, second)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
