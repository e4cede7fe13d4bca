"""The unit for systemd and the manifest for Kubernetes say what the server does: flags, probes, draining."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from llmkit.cli import COMMANDS
from llmkit.commands.serve.serve import serve
from llmkit.server.front import OPEN
from llmkit.server.keys import read_keys
from llmkit.server.router.config import read_source
from llmkit.workflows.serve.ray_cluster import ADDRESS, SERVE_PORT

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "serve"


def flags() -> set[str]:
    """Every flag of `llmkit serve`."""
    app = typer.Typer()
    app.command()(serve)
    command = typer.main.get_command(app)
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def unit() -> Any:
    """The unit, its continued lines joined."""
    text = (FOLDER / "llmkit.service").read_text().replace("\\\n", "")
    parser = configparser.RawConfigParser(strict=True, comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser["Service"]


def manifest(name: str) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def probed(container: dict[str, Any]) -> set[str]:
    """The ports that a container's probes ask; each asks a path that takes no key."""
    names = ("startupProbe", "livenessProbe", "readinessProbe")
    probes = {name: container[name]["httpGet"] for name in names}
    assert {one["path"] for one in probes.values()} <= set(OPEN), "a probe has no key"
    assert probes["livenessProbe"]["path"] == "/health" and probes["readinessProbe"]["path"] == "/ready"
    unready, waits = container["readinessProbe"], container["lifecycle"]["preStop"]["exec"]["command"][1]
    assert int(waits) > unready["periodSeconds"] * unready["failureThreshold"]
    return {one["port"] for one in probes.values()}


def value_of(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_systemd_waits_longer_than_the_server_drains_and_asks_for_flags_that_there_are() -> None:
    service = unit()
    words = shlex.split(service["ExecStart"])
    assert words[1] == "serve" and "serve" in COMMANDS
    assert {one for one in words if one.startswith("-") and one != "-"} <= flags()
    assert float(service["TimeoutStopSec"]) > float(value_of(words, "--drain-seconds"))
    assert read_source(value_of(words, "-m"), None).name == "small"
    assert service["KillMode"] == "mixed", "workers are for the router to end"
    assert service["SuccessExitStatus"] == "143", "that of a second SIGTERM"
    assert service["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"], "the keys are read again"
    assert value_of(words, "--keys").startswith("/etc/"), "not a credential, which is copied at the start"


def test_kubernetes_probes_open_paths_and_waits_longer_than_the_server_drains() -> None:
    deployment, service, _ = manifest("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = dict(one.split("=", 1) for one in container["args"])
    assert set(told) <= flags() and container["command"] == ["llmkit", "serve"]
    assert read_source(told["--model"], None).path == "/models/small"
    assert probed(container) == {"http"} == {service["spec"]["ports"][0]["targetPort"]}
    assert container["ports"] == [{"name": "http", "containerPort": int(told["--port"])}]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + float(told["--drain-seconds"])
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert all(f"/{told[flag].split('=')[-1].split('/')[1]}" in mounted for flag in ("--model", "--keys"))


def test_the_router_of_a_ray_cluster_joins_it_without_cores_and_asks_for_what_workers_have() -> None:
    cluster, deployment, service = manifest("kuberay.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (line,) = container["args"]
    join, words = (shlex.split(one) for one in line.split("&&"))
    assert (
        join[:2] == ["ray", "start"] and "--num-cpus=0" in join and words[:3] == ["exec", "llmkit", "serve"]
    )
    assert {one for one in words if one.startswith("-") and one != "-"} <= flags()
    told = {one["name"]: one for one in container["env"]}
    assert told[ADDRESS]["value"] == f"{cluster['metadata']['name']}-head-svc:6379"
    token = told["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert (token["name"], token["key"]) == (cluster["spec"]["authOptions"]["secretName"], "auth_token")
    head, (workers,) = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    ports = {one["containerPort"] for one in head["template"]["spec"]["containers"][0]["ports"]}
    assert SERVE_PORT in ports
    (worker,) = workers["template"]["spec"]["containers"]
    assert value_of(words, "--threads") == worker["resources"]["requests"]["cpu"]
    assert int(value_of(words, "--replicas")) == workers["replicas"]
    assert {"/models"} == {one["mountPath"] for one in worker["volumeMounts"]}
    assert read_source(value_of(words, "-m"), None).path.startswith("/models/")
    assert probed(container) == {"http"} == {service["spec"]["ports"][0]["targetPort"]}
    assert container["ports"] == [{"name": "http", "containerPort": int(value_of(words, "--port"))}]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + float(value_of(words, "--drain-seconds"))
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_the_key_that_their_first_lines_make_is_one_that_is_read(tmp_path: Path, llmkit_run: Any) -> None:
    for name in ("llmkit.service", "kubernetes.yaml", "kuberay.yaml"):
        assert re.search(r"llmkit serve --new-key alice >>? \S*keys\.toml", (FOLDER / name).read_text())
    path = tmp_path / "keys.toml"
    path.write_text(llmkit_run("serve", "--new-key", "alice").text)
    assert set(read_keys(path).rules) == {"alice"}
