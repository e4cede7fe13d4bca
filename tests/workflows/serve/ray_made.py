"""Ray Serve for tests, without Ray: takes down what it is told, and answers as it does."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.workflows.serve.ray_replica import RayReplica, problem_line
from llmkit.workflows.serve.worker import WorkerSettings, read_settings

Nodes = list[dict[str, Any]]


class FakeServe:
    """Ray Serve.

    Attributes:
        deployed: options of each deployment, as they came.
        ran: settings of what was run, its options, and its version of the code.
        problems: what stands in the way of a model, by its folder's name.
        messages: what is said of each application: its status, and more.
        is_full: whether there is no room for what is run.
        replies: what replicas answer when all are asked; an exception is one's, or Ray's own.
    """

    def __init__(self) -> None:
        self.deployed: list[dict[str, Any]] = []
        self.ran: list[SimpleNamespace] = []
        self.started: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.asked: list[tuple[Any, ...]] = []
        self.problems: dict[str, str | LlmkitError] = {}
        self.replies: Callable[[], list[Any]] = list
        self.door: SimpleNamespace | None = None
        self.messages: dict[str, tuple[str, str]] = {}
        self.is_full = False
        self.context = SimpleNamespace(_get_global_client=lambda: SimpleNamespace(http_config=self.door))

    def start(self, **options: Any) -> None:
        """Start it, unless it is there."""
        self.started.append(options)
        self.door = self.door or SimpleNamespace(**options["http_options"])

    def ingress(self) -> Any:
        """What makes a class one that answers HTTP."""
        return lambda kind: kind

    def deployment(self, kind: type, **options: Any) -> Any:
        """A deployment, not yet run."""
        assert kind is RayReplica
        self.deployed.append(options)
        made = SimpleNamespace(_version=None)
        made.bind = lambda settings, secret: SimpleNamespace(
            settings=read_settings(settings), code=made._version, **options
        )
        return made

    def RunTarget(self, target: Any, name: str, route: str, logs: Any) -> SimpleNamespace:  # noqa: N802
        """What is to run, by Ray's name for it."""
        return SimpleNamespace(target=target, name=name, route=route)

    def run_many(self, targets: list[SimpleNamespace], **options: Any) -> None:
        """Run one; `status` tells how it went."""
        assert options == {"wait_for_applications_running": False}
        (one,) = targets
        settings: WorkerSettings = one.target.settings
        problem = self.problems.get(settings.model.name)
        if isinstance(problem, LlmkitError):
            problem = f"a report\n  RuntimeError: {problem_line(problem, 'node-b')}\n\nof Ray's"
        if problem is not None:
            self.messages[one.name] = ("DEPLOY_FAILED", problem)
            return
        one.target.route = one.route
        self.ran.append(one.target)
        self.messages[one.name] = ("DEPLOYING" if self.is_full else "RUNNING", "")

    def get_app_handle(self, app: str) -> Any:
        """Of an application that runs."""

        def broadcast(*told: Any) -> Any:
            self.asked.append((app, *told))
            return SimpleNamespace(results=lambda **how: self.replies())

        return SimpleNamespace(broadcast=broadcast)

    def status(self) -> Any:
        """What it says of each application."""
        told = {
            app: SimpleNamespace(
                status=status, deployments={"d": SimpleNamespace(status=status, message=message)}
            )
            for app, (status, message) in self.messages.items()
        }
        return SimpleNamespace(applications=told)

    def delete(self, name: str) -> None:
        """End one."""
        self.deleted.append(name)
        self.messages.pop(name, None)

    def shutdown(self) -> None:
        """End all."""
        self.deleted.append("all")


class FakeRay:
    """Ray.

    Attributes:
        nodes_there: as `ray.nodes` tells of them.
        here: this machine's address.
        fails: what joining fails with.
    """

    def __init__(self) -> None:
        self.joined: list[dict[str, Any]] = []
        self.left = 0
        self.here = "10.0.0.1"
        self.nodes_there = [node("10.0.0.1", head=True, CPU=4.0)]
        self.fails: Exception | None = None
        self.util = SimpleNamespace(get_node_ip_address=lambda: self.here)

    def init(self, **options: Any) -> None:
        """Join."""
        if self.fails is not None:
            raise self.fails
        self.joined.append(options)

    def nodes(self) -> Nodes:
        """Those of the cluster."""
        return self.nodes_there

    def shutdown(self) -> None:
        """Leave."""
        self.left += 1


def node(address: str, *, head: bool = False, alive: bool = True, **resources: float) -> dict[str, Any]:
    """One of a cluster."""
    more = {"node:__internal_head__": 1.0} if head else {}
    return {"NodeManagerAddress": address, "Alive": alive, "Resources": {**resources, **more}}
