"""Ray itself: of this machine alone, or the cluster of several that RAY_ADDRESS names; and Ray Serve's door.

A cluster's nodes read models, adapters and indexes by the same paths, and have llmkit installed.
"""

import logging
import math
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import MissingError, ResourceError, UsageError

ADDRESS = "RAY_ADDRESS"
SERVE_PORT = 8000
"""Of Ray Serve's proxy on a head that is another machine."""
QUIET = {"log_level": "ERROR", "enable_access_log": False}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class Share:
    """What a replica has of its node."""

    threads: int
    gpus: float


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is part of."""

    is_ours: bool
    """Whether it was started here, and ends with this process."""
    url: str
    """Of Ray Serve's proxy."""
    nodes: tuple[Mapping[str, float], ...]
    """What each has: CPU, GPU, ...."""


def join_cluster() -> Cluster:
    """Join the cluster that RAY_ADDRESS names, or start one here without a dashboard; and Ray Serve.

    Raises:
        MissingError: there is no Ray.
        UsageError: an address that replicas cannot be reached through.
        ResourceError: it does not start, is not there, or its proxy cannot be reached from here.
    """
    ray, serve = import_ray()
    address = os.environ.get(ADDRESS, "")
    if address.startswith("ray://"):
        raise UsageError(
            f"{ADDRESS}={address}: for Ray's clients, which are no part of the cluster",
            hint=f"{ADDRESS}=HEAD:6379, on a machine that has done `ray start --address=HEAD:6379`",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of this is told to anybody
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a machine may be busy
    logging.getLogger("ray.serve").setLevel("ERROR")
    here: dict[str, Any] = (
        {"address": "auto"} if address else {"address": "local", "include_dashboard": False}
    )
    try:
        ray.init(log_to_driver=False, logging_level="error", **here)
    except Exception as error:  # Ray's own have no other class
        told = str(error).strip().splitlines()
        where = f" at {ADDRESS}={address}" if address else ""
        raise ResourceError(
            f"Ray does not start{where}: {told[0] if told else type(error).__name__}",
            hint="ray start --address=HEAD:6379 makes this machine a part of it; RAY_AUTH_MODE and "
            "RAY_AUTH_TOKEN as it has them",
        ) from None
    nodes = [node for node in ray.nodes() if node["Alive"]]
    head = next(one["NodeManagerAddress"] for one in nodes if "node:__internal_head__" in one["Resources"])
    is_head = not address or head == ray.util.get_node_ip_address()
    wanted = {"host": "127.0.0.1", "port": _free_port()} if is_head else {"host": head, "port": SERVE_PORT}
    serve.start(proxy_location="HeadOnly", http_options=wanted, logging_config=QUIET)
    door = serve.context._get_global_client().http_config  # of those who were here first, if anybody was
    resources = tuple(node["Resources"] for node in nodes)
    return Cluster(not address, door_url(door.host, door.port, head, is_head=is_head), resources)


def door_url(host: str, port: int, head: str, *, is_head: bool) -> str:
    """Where this process reaches the proxy on a head.

    Args:
        host: that the proxy listens on.
        port: of it.
        head: the head's address.
        is_head: whether this process is on the head.

    Raises:
        ResourceError: it is reached from the head alone, and this is another machine.
    """
    if is_head:
        return f"http://{'127.0.0.1' if host in (*_ANY, *_LOOPBACK) else host}:{port}"
    if host in _LOOPBACK:
        raise ResourceError(
            f"Ray Serve's proxy listens on {host} of {head} alone",
            hint="run llmkit there, or start Ray Serve first: serve start --http-host 0.0.0.0",
        )
    return f"http://{head if host in _ANY else host}:{port}"


def leave_cluster(cluster: Cluster) -> None:
    """Leave it, or end it where it was started here."""
    ray, serve = import_ray()
    if cluster.is_ours:
        serve.shutdown()
    ray.shutdown()


def share_of(nodes: Sequence[Mapping[str, float]], most: int, device: str, parts: int = 1) -> Share:
    """What a replica has of its node, where they are spread evenly.

    Args:
        nodes: what each has, in Ray's words.
        most: replicas that there may be.
        device: that they are to run on, as `--device` names it.
        parts: processes of one replica, which have a GPU each.
    """
    cores = [int(one["CPU"]) for one in nodes if one.get("CPU", 0) >= 1] or [1]
    on_one = math.ceil(most / len(cores))
    gpus = sum(one.get("GPU", 0) for one in nodes)
    each = 0.0
    if device.startswith("cuda") or (device == "auto" and gpus):
        each = (
            float(parts) if parts > 1 or not gpus else math.floor(1e4 / max(1, math.ceil(most / gpus))) / 1e4
        )
    return Share(max(1, min(cores) // on_one), each)


def import_ray() -> Any:
    """Ray, and Ray Serve.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        from ray import serve
    except ImportError:
        raise MissingError("--engine ray needs Ray Serve", hint="pip install 'llmkit[ray]'") from None
    return ray, serve


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
